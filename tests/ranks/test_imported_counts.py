"""An adapter is counted as PEFT counts it, whatever its config says, or refused where PEFT refuses it."""

import dataclasses
import json
import warnings

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import save_file
from tiny_models import tiny_config
from transformers import AutoConfig, PreTrainedConfig

from gelora.errors import GeloraError
from gelora.ranks import apply_plan, plan_from_adapter, to_lora_config, uniform_ranks
from gelora.ranks.peft.lora_checks import adapted_name
from gelora.records import RankPlan
from gelora.sources import structure_of, without_weights

_SMALL = {
    **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2},
    **{"vocab_size": 128, "max_position_embeddings": 64},
}
MOE = {
    "deepseek_v3": {
        **{"first_k_dense_replace": 1, "kv_lora_rank": 8, "moe_intermediate_size": 16, "n_group": 1, "n_routed_experts": 4},
        **{"num_experts_per_tok": 2, "q_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4, "topk_group": 1, "v_head_dim": 8},
    },
    "qwen3_moe": {"moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2, "head_dim": 8, "mlp_only_layers": [0]},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8},
    "qwen2_moe": {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2},
}
TEXT = {"head_dim": 8, "sliding_window": 16, "tie_word_embeddings": True}
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 16, "patch_size": 8}


def config_of(kind: str) -> PreTrainedConfig:
    """A model of 3 blocks of width 32."""
    if kind == "gemma3":
        return AutoConfig.for_model("gemma3", text_config=_SMALL | TEXT, vision_config=VISION | {"model_type": "siglip_vision_model"})
    return AutoConfig.for_model(kind, **_SMALL | MOE[kind]) if kind in MOE else tiny_config(kind)


EXPERTS = ["gate_proj", "up_proj", "down_proj"]
CLASSES = {
    **{"CAUSAL_LM": "AutoModelForCausalLM", "SEQ_CLS": "AutoModelForSequenceClassification", None: "AutoModel"},
    **{"TOKEN_CLS": "AutoModelForTokenClassification", "QUESTION_ANS": "AutoModelForQuestionAnswering"},
    "FEATURE_EXTRACTION": "AutoModel",
}
CASES = [
    # above the smaller side of a matrix
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj", "k_proj"], "r": 32}),
    ("llama", "CAUSAL_LM", {"target_modules": ["k_proj"], "r": 500, "rank_pattern": {"layers.1.self_attn.k_proj": 33}}),
    # outside the blocks
    ("gemma3", "CAUSAL_LM", {"target_modules": ["q_proj", "v_proj"]}),
    ("gemma3", "CAUSAL_LM", {"target_modules": "all-linear", "r": 3}),
    ("gemma3", None, {"target_modules": r".*language_model.*\.(q|v)_proj", "rank_pattern": {r".*layers\.[02]\..*": 3}}),
    ("gemma3", "CAUSAL_LM", {"target_modules": ["q_proj", "out_proj", "fc1"], "exclude_modules": r".*vision_tower.*\.1\..*"}),
    ("bert", "SEQ_CLS", {"target_modules": "all-linear"}),
    ("bert", "SEQ_CLS", {"target_modules": ["query", "dense"]}),
    ("bert", "TOKEN_CLS", {"target_modules": ["query"], "modules_to_save": ["embeddings"]}),
    ("bert", "QUESTION_ANS", {"target_modules": ["query", "word_embeddings"]}),
    ("roberta", "SEQ_CLS", {"target_modules": ["query", "dense"]}),
    ("roberta", "FEATURE_EXTRACTION", {"target_modules": "all-linear"}),
    ("deberta-v2", "SEQ_CLS", {"target_modules": "all-linear", "modules_to_save": ["pooler"]}),
    ("gpt2", "CAUSAL_LM", {"target_modules": ["c_attn", "wte"], "fan_in_fan_out": True}),
    ("gpt2", "CAUSAL_LM", {"target_modules": ["c_attn", "lm_head"], "ensure_weight_tying": True}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj", "lm_head", "embed_tokens"], "use_rslora": True}),
    ("llama", "CAUSAL_LM", {"target_modules": ["v_proj"], "modules_to_save": ["lm_head", "norm"]}),
    ("llama", "SEQ_CLS", {"target_modules": ["v_proj"]}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj"], "trainable_token_indices": [1, 5, 9]}),
    ("qwen2", "CAUSAL_LM", {"target_modules": ["q_proj"], "bias": "all"}),
    ("qwen2", "CAUSAL_LM", {"target_modules": ["q_proj"], "bias": "lora_only", "lora_bias": True}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj", "down_proj"], "use_dora": True}),
    # which layers and names
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj"], "layers_to_transform": [0, 2], "layers_pattern": ["h", "lay.rs"]}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj"], "layers_to_transform": 1, "layers_pattern": r"(?:model\.)?layers"}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj", "model.layers.2.mlp.up_proj"], "layers_to_transform": [0]}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj"], "layers_to_transform": []}),
    ("gemma3", "CAUSAL_LM", {"target_modules": ["q_proj"], "layers_to_transform": [1], "layers_pattern": "layers"}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj", "k_proj"], "exclude_modules": ["layers.1.self_attn.q_proj"]}),
    ("llama", "CAUSAL_LM", {"target_modules": r".*\.(q|k)_proj", "exclude_modules": r".*\.[12]\..*", "modules_to_save": ["k_pr.j"]}),
    ("llama", "CAUSAL_LM", {"target_modules": "q_proj"}),
    ("llama", "CAUSAL_LM", {"target_modules": [], "target_parameters": ["q_proj.weight"]}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj"], "rank_pattern": {"nothing": 3, ".*": 2, "q_proj": 5}, "alpha_pattern": {"q": 1}}),
    ("llama", "CAUSAL_LM", {"target_modules": ["q_proj", "input_layernorm"]}),
    ("llama", "CAUSAL_LM", {"target_modules": ["self_attn"]}),
    ("llama", "CAUSAL_LM", {"target_modules": [f"model.layers.{i}.{n}" for i in range(3) for n in ("mlp.up_proj", "self_attn.q_proj")]}),
    # experts, by their names of transformers 4 and of 5
    *((kind, "CAUSAL_LM", {"target_modules": EXPERTS}) for kind in ("deepseek_v3", "qwen3_moe", "olmoe", "qwen2_moe")),
    ("deepseek_v3", "CAUSAL_LM", {"target_modules": "all-linear", "r": 2}),
    ("deepseek_v3", "CAUSAL_LM", {"target_modules": r".*layers\.2\.mlp\..*(gate|up|down)_proj"}),
    ("deepseek_v3", "CAUSAL_LM", {"target_modules": [*EXPERTS, "kv_b_proj"], "layers_to_transform": [1], "layers_pattern": "layers"}),
    ("deepseek_v3", "CAUSAL_LM", {"target_modules": [*EXPERTS, "o_proj"], "rank_pattern": {"gate_up_proj": 5, "o_proj": 3}}),
    ("deepseek_v3", "CAUSAL_LM", {"target_modules": ["gate_proj", "q_a_proj"]}),
    ("deepseek_v3", "CAUSAL_LM", {"target_parameters": ["shared_experts.gate_proj.weight"], "target_modules": ["q_a_proj"]}),
    ("mixtral", "CAUSAL_LM", {"target_modules": ["q_proj", "w1", "w2", "w3", "gate"]}),
    ("mixtral", "CAUSAL_LM", {"target_modules": ["w1", "w2"]}),
    ("mixtral", "CAUSAL_LM", {"target_modules": r".*experts.*(w1|w3)"}),
    ("mixtral", "CAUSAL_LM", {"target_modules": "all-linear", "r": 2, "exclude_modules": ["k_proj"]}),
    ("mixtral", "CAUSAL_LM", {}),
    ("mixtral", "CAUSAL_LM", {"target_modules": ["w1", "w2", "w3"], "use_dora": True}),
    ("gpt_oss", "CAUSAL_LM", {"target_modules": "all-linear", "target_parameters": ["0.mlp.experts.down_proj", "1.mlp.experts.down_proj"]}),
    ("gpt_oss", "CAUSAL_LM", {"target_modules": [], "target_parameters": ["experts.gate_up_proj"], "rank_pattern": {"gate_up_proj": 3}}),
    ("olmoe", "CAUSAL_LM", {"target_parameters": ["experts.gate_up_proj", "experts.down_proj"], "target_modules": ["q_proj"]}),
]


def by_peft(kind: str, task: str | None, options: dict) -> tuple[int, dict[str, int]] | None:
    """(trainable parameters, {adapted name: rank}) of what PEFT makes of the config itself; None where it refuses."""
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        try:
            config = LoraConfig(task_type=task, init_lora_weights=False, **options)
            model = get_peft_model(without_weights(config_of(kind), CLASSES[task]), config)
        except ValueError:
            return None
        layers = ((n, m) for n, m in model.get_base_model().named_modules() if isinstance(m, LoraLayer))
        return model.get_nb_trainable_parameters()[0], {adapted_name(name, layer): layer.r["default"] for name, layer in layers}


def by_us(adapter, kind: str) -> RankPlan:
    config = config_of(kind)
    return plan_from_adapter(adapter, structure_of(without_weights(config), kind, "rev"), config)


@pytest.mark.parametrize(("kind", "task", "options"), CASES, ids=lambda value: json.dumps(value)[:60])
def test_an_imported_config_is_what_peft_makes_of_it_or_is_refused_as_it_refuses_it(kind, task, options):
    given = {"peft_type": "LORA", "task_type": task, "base_model_name_or_path": kind} | options
    expected = by_peft(kind, task, options)
    if expected is None:
        with pytest.raises(GeloraError) as error:
            by_us(given, kind)
        assert "\n" not in str(error.value) and len(str(error.value)) < 600
        return
    n_params, ranks = expected
    plan = by_us(given, kind)
    assert plan.n_trained_params == n_params
    found = {full: r for full, r in ranks.items() if any(full == name or full.endswith(f".{name}") for name in plan.ranks)}
    assert sorted(found.values()) == sorted(plan.ranks.values())
    counted = {name for part in plan.also_trained if "whole" not in part.what for name in part.modules}
    assert counted == ranks.keys() - found.keys()


def test_ranks_above_the_smaller_side_are_a_note_of_the_plan():
    plan = by_us({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 32, "target_modules": ["q_proj", "k_proj"]}, "llama")
    assert set(plan.ranks.values()) == {32} and plan.n_adapter_params == 3 * 32 * (64 + 48)
    assert "ranks above the smaller side (16) of layers.0.self_attn.k_proj" in plan.block_notes[0]
    assert RankPlan.from_json(plan.to_json()) == plan


def test_a_vision_tower_is_a_line_of_its_own():
    plan = by_us({"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": ["q_proj", "v_proj"]}, "gemma3")
    assert plan.n_adapter_params == 2688 and plan.n_trained_params == 4224
    (part,) = plan.also_trained
    assert part.words.startswith("1,536 parameters in modules outside the blocks (model.vision_tower.")
    assert part.words.endswith(" and 4 more)") and len(part.modules) == 6


def test_names_that_experts_had_in_transformers_4_are_read_as_peft_reads_them():
    plan = by_us({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "target_modules": EXPERTS}, "deepseek_v3")
    assert {m.kind for m in plan.modules} == {"expert"} and plan.n_adapter_params == 11_264
    assert {(plan.ranks[m.name], plan.alphas[m.name], m.name.rpartition(".")[2]) for m in plan.modules} == {
        (16, 32.0, "gate_up_proj"), (8, 16.0, "down_proj")}  # fmt: skip


def test_dropout_of_experts_is_said_since_peft_refuses_it_when_it_loads():
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": EXPERTS, "lora_dropout": 0.05}
    assert "set lora_dropout (0.05) to 0" in by_us(config, "deepseek_v3").block_notes[0]


def test_weights_of_single_experts_are_counted_as_the_fused_ones_that_peft_makes_of_them(tmp_path):
    weights = {}
    for block in range(3):
        for expert in range(4):
            for name, n_in, n_out in (("w1", 32, 64), ("w3", 32, 64), ("w2", 64, 32)):
                full = f"base_model.model.model.layers.{block}.block_sparse_moe.experts.{expert}.{name}"
                weights |= {f"{full}.lora_A.weight": torch.zeros(2, n_in), f"{full}.lora_B.weight": torch.zeros(n_out, 2)}
        full = f"base_model.model.model.layers.{block}.self_attn.q_proj"
        weights |= {f"{full}.lora_A.weight": torch.zeros(2, 32), f"{full}.lora_B.weight": torch.zeros(32, 2)}
    save_file(weights, tmp_path / "adapter_model.safetensors")
    options = {"target_modules": ["q_proj", "w1", "w2", "w3"], "r": 2}
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM", **options}))
    plan = by_us(tmp_path, "mixtral")
    assert plan.n_trained_params == plan.n_adapter_params == by_peft("mixtral", "CAUSAL_LM", options)[0]
    assert "numbers for single experts" in plan.block_notes[0]
    (tmp_path / "adapter_config.json").unlink()  # without it nobody knows what to make of them: they are a line of their own
    alone = by_us(tmp_path, "mixtral")
    assert alone.n_trained_params == sum(tensor.numel() for tensor in weights.values()) and set(alone.ranks.values()) == {2}


@pytest.mark.parametrize("kind", ["gemma3", "mixtral", "roberta", "llama"])
def test_weights_and_their_config_are_counted_alike(tmp_path, kind):
    task = "SEQ_CLS" if kind == "roberta" else "CAUSAL_LM"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = without_weights(config_of(kind), CLASSES[task]).to_empty(device="cpu")
        made = get_peft_model(model, LoraConfig(task_type=task, target_modules="all-linear", r=40 if kind == "llama" else 3))
        made.save_pretrained(tmp_path)
    by_weights, by_config = by_us(tmp_path, kind), by_us(tmp_path / "adapter_config.json", kind)
    assert by_weights.n_trained_params == by_config.n_trained_params == made.get_nb_trainable_parameters()[0]
    assert by_weights.ranks == by_config.ranks and by_weights.alphas == by_config.alphas


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "gemma3", *MOE])
def test_what_is_exported_comes_back_from_its_config_and_from_its_weights(tmp_path, kind):
    model = without_weights(config_of(kind)).to_empty(device="cpu")
    structure = structure_of(model, kind, "rev")
    has_experts = any(module.kind == "expert" for module in structure.modules)
    plan = uniform_ranks(structure, 1, "all-linear,experts" if has_experts else "all-linear")
    ranks = {module.name: min(1 + place % 5, module.smaller_side) for place, module in enumerate(plan.modules)}
    plan = dataclasses.replace(plan, ranks=ranks, alphas={name: 3.0 * r for name, r in ranks.items()})
    to_lora_config(plan).save_pretrained(tmp_path / "config")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        apply_plan(model, plan).save_pretrained(tmp_path / "weights")
    for folder in ("config", "weights"):
        back = by_us(tmp_path / folder, kind)
        assert back.ranks == plan.ranks and back.alphas == plan.alphas and not back.also_trained
        assert back.n_trained_params == plan.n_adapter_params
        assert set(back.block_notes) <= {0}


def test_where_the_models_config_is_not_at_hand_the_blocks_are_counted_and_the_rest_is_a_note():
    structure = structure_of(without_weights(config_of("llama")), "nobody/has-this", "rev")
    config = {"peft_type": "LORA", "r": 2, "target_modules": ["q_proj", "lm_head"], "modules_to_save": ["norm"]}
    plan = plan_from_adapter(config, structure)
    assert plan.n_trained_params == 3 * 2 * 64
    assert "the config of nobody/has-this is not at hand" in plan.block_notes[0] and "lm_head" in plan.block_notes[0]
    assert "trained whole, and not counted here: norm" in plan.block_notes[0]
