"""Plans through PEFT: every module has its rank and nothing else is touched, on real module trees of every family."""

import dataclasses
import re
import warnings

import peft
import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from tiny_models import ARCHITECTURES, tiny_config, tiny_model
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

import gelora.ranks.peft.lora
from gelora.errors import InputError, ModelError
from gelora.ranks import (
    InitialAdapter,
    allocate_ranks,
    apply_plan,
    count_parameters,
    dora_params,
    modules_to_save,
    plan_budget,
    to_lora_config,
    uniform_ranks,
)
from gelora.ranks.peft.lora import check_config
from gelora.ranks.peft.lora_checks import meta_copy
from gelora.records import RankPlan
from gelora.sources import structure_of

CURVE = [10.0, 12.5, 11.0, 13.2]  # rises 3, 0, 3 when rounded up
HEADS = {
    "bert": ["bert.pooler", "classifier"],
    "roberta": ["classifier"],
    "deberta-v2": ["classifier", "pooler"],
    "distilbert": ["classifier", "pre_classifier"],
    "modernbert": ["classifier", "head"],
} | {decoder: ["score"] for decoder in ("gpt2", "opt", "llama", "phi", "qwen2", "gemma")}


def classifier(architecture: str, **changes) -> nn.Module:
    config = tiny_config(architecture, **changes)
    config.num_labels = 3
    return AutoModelForSequenceClassification.from_config(config)


@pytest.fixture(scope="module")
def plan_for(make_profile):
    """plan_for(architecture, ...): a GeLoRA plan with another rank in block 2 than in blocks 1 and 3."""

    def plan(architecture: str, target_modules="attention", offset=1, curve=CURVE, **changes) -> RankPlan:
        structure = structure_of(tiny_model(architecture, **changes), architecture, "rev")
        return allocate_ranks(make_profile(curve, structure), target_modules, offset)

    return plan


def adapted(model: nn.Module) -> dict[str, LoraLayer]:
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def ranks_in(model: nn.Module) -> dict[str, int]:
    return {name: layer.r["default"] for name, layer in adapted(model).items()}


def missing_keys(architecture: str) -> list[str]:
    """What a base checkpoint lacks of the classifier: all that is not in the base model."""
    base = set(tiny_model(architecture).state_dict())
    model = classifier(architecture)
    return [key for key in model.state_dict() if key.removeprefix(f"{model.base_model_prefix}.") not in base]


@pytest.mark.parametrize("target_modules", ["attention", "attention-qv", "mlp", "all-linear"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_budgets_are_peft_s_own_counts_and_every_module_has_its_rank(plan_for, architecture, target_modules):
    plan = plan_for(architecture, target_modules)
    model = classifier(architecture)
    heads = modules_to_save(model, missing_keys(architecture))
    n_head = sum(p.numel() for name in heads for p in model.get_submodule(name).parameters())
    prefix = model.base_model_prefix
    peft_model = apply_plan(model, plan, task_type="SEQ_CLS", modules_to_save=heads)

    assert heads == HEADS[architecture]
    assert count_parameters(peft_model) == (plan_budget(plan).n_adapter_params, n_head)
    assert peft_model.get_nb_trainable_parameters()[0] == plan_budget(plan).n_adapter_params + n_head
    layers = adapted(peft_model.get_base_model())
    assert {name: layer.r["default"] for name, layer in layers.items()} == {f"{prefix}.{name}": r for name, r in plan.ranks.items()}
    assert {layer.scaling["default"] for layer in layers.values()} == {32.0}
    assert set(ranks_in(peft_model).values()) == {1, 4}
    trainable = [name for name, p in peft_model.named_parameters() if p.requires_grad]
    assert all(".lora_" in name or ".modules_to_save." in name for name in trainable)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "gpt2", "opt", "llama"])
def test_one_plan_serves_the_bare_the_classification_and_the_causal_model(plan_for, architecture):
    plan = plan_for(architecture)
    kinds = [AutoModel, AutoModelForSequenceClassification]
    if architecture in ("gpt2", "opt", "llama"):
        kinds.append(AutoModelForCausalLM)
    for kind in kinds:
        model = kind.from_config(tiny_config(architecture))
        prefix = "" if kind is AutoModel else f"{model.base_model_prefix}."
        expected = {prefix + name: r for name, r in plan.ranks.items()}
        config = to_lora_config(plan, model)
        assert config.target_modules == set(expected)
        assert ranks_in(apply_plan(model, plan).get_base_model()) == expected
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT corrects fan_in_fan_out of GPT-2 by itself, and says so
            without_model = get_peft_model(kind.from_config(tiny_config(architecture)), plan.to_lora_config())
        assert ranks_in(without_model.get_base_model()) == expected


@pytest.mark.parametrize("offset", [0, 1])
def test_block_1_is_not_mistaken_for_block_11(plan_for, offset):
    # 13 blocks: layers.1 and layers.11 end alike, and 20 names or more make PEFT shorten target_modules by itself.
    curve = [float(d) for d in (1, 2, 4, 4, 5, 6, 6, 7, 9, 9, 12, 12, 13, 17)]
    plan = plan_for("llama", "all-linear", offset, curve, num_hidden_layers=13)
    rises = [1, 2, 0, 1, 1, 0, 1, 2, 0, 3, 0, 1, 4]
    expected = {f"layers.{i}.mlp.up_proj": rise + offset for i, rise in enumerate(rises) if rise + offset}
    bare = get_peft_model(tiny_model("llama", num_hidden_layers=13), plan.to_lora_config()).get_base_model()
    headed = apply_plan(classifier("llama", num_hidden_layers=13), plan).get_base_model()
    assert {name: r for name, r in ranks_in(bare).items() if name.endswith("up_proj")} == expected
    assert {name.removeprefix("model."): r for name, r in ranks_in(headed).items()} == ranks_in(bare)
    assert len(ranks_in(bare)) == 7 * len(expected)


def test_modules_of_rank_zero_are_left_out(plan_for):
    plan = plan_for("bert", offset=0)
    assert plan.block_ranks() == {1: 3, 2: 0, 3: 3}
    peft_model = apply_plan(classifier("bert"), plan)
    assert not any("layer.1." in name for name in adapted(peft_model))
    assert plan_budget(plan).n_adapter_params == count_parameters(peft_model)[0] == 8 * 3 * 64
    assert not any("layer.1." in name for name in plan.to_lora_config().target_modules)


@pytest.mark.parametrize("with_model", [False, True])
def test_the_config_comes_back_from_its_json_file(plan_for, tmp_path, with_model):
    plan = plan_for("bert", "all-linear")
    model = classifier("bert")
    config = to_lora_config(plan, model if with_model else None, task_type="SEQ_CLS", modules_to_save=["bert.pooler"], lora_dropout=0.25)
    config.save_pretrained(tmp_path)
    again = LoraConfig.from_pretrained(tmp_path)
    for name in ("r", "lora_alpha", "target_modules", "rank_pattern", "alpha_pattern", "lora_dropout", "task_type", "modules_to_save"):
        assert getattr(again, name) == getattr(config, name), name
    expected = {f"bert.{name}": r for name, r in plan.ranks.items()}
    assert ranks_in(get_peft_model(model, again).get_base_model()) == expected


def test_a_uniform_plan_reads_like_a_config_written_by_hand(plan_for):
    structure = structure_of(tiny_model("llama"), "llama", "rev")
    config = uniform_ranks(structure, 4).to_lora_config()
    assert (config.r, config.lora_alpha, config.rank_pattern, config.alpha_pattern) == (4, 128, {}, {})
    config = plan_for("llama").to_lora_config()
    assert (config.r, config.lora_alpha) == (4, 128)
    names = [f"layers.1.self_attn.{kind}_proj" for kind in "qkvo"]
    assert config.rank_pattern == {re.escape(name): 1 for name in names}
    assert config.alpha_pattern == {re.escape(name): 32 for name in names}
    assert config.bias == "none" and config.use_rslora is False


def test_gpt2_s_transposed_maps_are_declared_so_that_peft_has_nothing_to_correct(plan_for):
    plan = plan_for("gpt2", "all-linear")
    model = classifier("gpt2")
    assert to_lora_config(plan, model).fan_in_fan_out is True
    assert to_lora_config(plan_for("llama"), classifier("llama")).fan_in_fan_out is False
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        apply_plan(model, plan)
    assert not [w for w in caught if "fan_in_fan_out" in str(w.message)]


def test_an_untrained_adapter_changes_no_output_and_a_trained_one_does(plan_for):
    model = classifier("gpt2").eval()
    tokens = torch.arange(4, 12).reshape(1, -1)
    with torch.inference_mode():
        before = model(tokens).logits
        peft_model = apply_plan(model, plan_for("gpt2", "all-linear")).eval()
        assert torch.equal(peft_model(tokens).logits, before)
        for layer in adapted(peft_model).values():
            nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
        assert not torch.allclose(peft_model(tokens).logits, before, atol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_peft_saves_the_head_and_nothing_besides(plan_for, architecture):
    peft_model = apply_plan(
        classifier(architecture),
        plan_for(architecture),
        modules_to_save=modules_to_save(classifier(architecture), missing_keys(architecture)),
    )
    kept = {
        name.removeprefix("base_model.model.")
        for name, module in peft_model.named_modules()
        if isinstance(module, peft.utils.ModulesToSaveWrapper)
    }
    assert sorted(kept) == HEADS[architecture] == peft_model.peft_config["default"].modules_to_save


def test_names_are_not_repeated_in_the_config_that_is_saved(plan_for):
    peft_model = apply_plan(classifier("bert"), plan_for("bert"), task_type="SEQ_CLS", modules_to_save=HEADS["bert"])
    assert peft_model.peft_config["default"].modules_to_save == ["bert.pooler", "classifier", "score"]  # the last is PEFT's own


def test_a_model_that_is_not_the_plan_s_is_refused_before_it_is_touched(plan_for):
    plan = plan_for("bert")
    for model, sentence in [
        (classifier("llama"), r"made for bert; this LlamaForSequenceClassification lacks: encoder\.layer\.0.* and 8 more"),
        (classifier("bert", num_hidden_layers=2), r"lacks: encoder\.layer\.2"),
        (classifier("bert", hidden_size=16), r"in another shape: .*\(in, out\) = \(16, 16\), planned \(32, 32\)"),
    ]:
        before = sorted(model.state_dict())
        with pytest.raises(ModelError, match=sentence):
            apply_plan(model, plan)
        assert sorted(model.state_dict()) == before
    with pytest.raises(ModelError, match="another shape"):
        apply_plan(classifier("gpt2", n_embd=16), plan_for("gpt2"))


class Twins(nn.Module):
    """Two base models side by side, so that relative names are there twice."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = tiny_model("llama"), tiny_model("llama")


def test_names_that_mean_two_modules_are_refused(plan_for):
    with pytest.raises(ModelError, match="Twins has more than once: layers"):
        to_lora_config(plan_for("llama"), Twins())


def test_relative_names_that_peft_cannot_tell_apart_are_refused(make_structure):
    from gelora.records import ModelStructure, TargetModule

    modules = (TargetModule("layers.0.q", 1, "q", 8, 8), TargetModule("text.layers.0.q", 1, "q", 8, 8))
    structure = ModelStructure("m", "r", "odd", 1, 8, 100, False, False, modules)
    with pytest.raises(ModelError, match=r"layers\.0\.q is also the end of text\.layers\.0\.q; give the model"):
        uniform_ranks(structure, 2).to_lora_config()


def test_illegal_options_are_refused(plan_for):
    plan = plan_for("bert")
    for options, error, sentence in [
        ({"task_type": "CLASSIFY"}, InputError, "'CLASSIFY'; choose one of: .*SEQ_CLS"),
        ({"lora_dropout": 1.5}, InputError, "lora_dropout is 1.5"),
        ({"init_lora_weights": "kaiming"}, InputError, "init_lora_weights 'kaiming'; choose one of: default, gaussian"),
        ({"init_lora_weights": "orthogonal"}, InputError, r"needs even ranks, and encoder\.layer\.1.* have odd ones; make these"),
        ({"modules_to_save": ["head"]}, ModelError, "do not: head"),
        ({"modules_to_save": ["output"]}, ModelError, "do not: output"),
        ({"modules_to_save": ["encoder"]}, ModelError, "adapter and to be saved whole: bert.encoder.*Choose one"),
    ]:
        with pytest.raises(error, match=sentence):
            apply_plan(classifier("bert"), plan, **options)
    once = apply_plan(classifier("bert"), plan)
    with pytest.raises(InputError, match="has a LoRA adapter already"):
        apply_plan(once.get_base_model(), plan)


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (lambda config: config.rank_pattern.clear(), "PEFT gave bert.encoder.layer.1.*planned 1 and 32.0"),
        (lambda config: config.alpha_pattern.clear(), "rank 1 and alpha / r 128.0; planned 1 and 32.0"),
        (lambda config: config.target_modules.pop(), "adapted other modules than the plan names"),
        (lambda config: config.target_modules.add("bert.encoder.layer.0.intermediate.dense"), "intermediate.dense"),
        (lambda config: config.modules_to_save.append("LayerNorm"), "saves other modules than asked for"),
        (lambda config: setattr(config, "bias", "all"), "trains other parameters than asked for: .*bias"),
        (lambda config: setattr(config, "use_dora", True), "adapter parameters, the plan costs"),
    ],
)
def test_what_peft_does_otherwise_than_asked_is_an_error(plan_for, monkeypatch, tamper, sentence):
    def tampered(model, config):
        tamper(config)
        return get_peft_model(model, config)

    monkeypatch.setattr(gelora.ranks.peft.lora, "get_peft_model", tampered)
    with pytest.raises(ModelError, match=sentence):
        apply_plan(classifier("bert"), plan_for("bert"), modules_to_save=["classifier"])


def test_a_pooler_is_trained_even_if_the_checkpoint_has_it():
    assert modules_to_save(classifier("bert"), []) == ["bert.pooler"]
    assert modules_to_save(classifier("roberta"), []) == []


def test_a_checkpoint_without_its_pooler_needs_no_other_name():
    keys = ["bert.pooler.dense.weight", "bert.pooler.dense.bias", "classifier.weight", "classifier.bias"]
    assert modules_to_save(classifier("bert"), keys) == ["bert.pooler", "classifier"]


def test_a_checkpoint_that_lacks_weights_of_the_model_itself_is_refused():
    with pytest.raises(ModelError, match=r"lacks weights of the model itself: bert\.encoder\.layer\.0.*random and frozen"):
        modules_to_save(classifier("bert"), ["classifier.weight", "bert.encoder.layer.0.attention.self.query.weight"])
    with pytest.raises(ModelError, match="lacks weights"):
        modules_to_save(tiny_model("bert"), ["embeddings.word_embeddings.weight"])


def test_a_head_whose_name_ends_another_module_s_name_is_refused():
    model = classifier("modernbert")
    model.add_module("second_head", nn.Linear(2, 2))
    with pytest.raises(ModelError, match="PEFT would also save second_head"):
        modules_to_save(model, ["head.dense.weight"])


def test_the_adapter_is_kept_in_float32_over_a_16_bit_model(plan_for):
    peft_model = apply_plan(classifier("llama").to(torch.bfloat16), plan_for("llama"))
    assert {p.dtype for name, p in peft_model.named_parameters() if ".lora_" in name} == {torch.float32}


# Three ways of storing the maps of all experts of a block: [experts, out, in], the same beside dense shared experts, and
# [experts, in, out].
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 24}
MIXTURES = {
    "mixtral": {"num_local_experts": 4},
    "qwen2_moe": {"num_experts": 4, "decoder_sparse_step": 1},
    "gpt_oss": {"num_local_experts": 4},
}


def mixture(model_type: str, auto_class=AutoModelForCausalLM) -> nn.Module:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    options = shape | ids | EXPERTS | {"intermediate_size": 64, "vocab_size": 64} | MIXTURES[model_type]
    torch.manual_seed(0)
    return auto_class.from_config(AutoConfig.for_model(model_type, **options)).eval()


def mixed_plan(model: nn.Module, target_modules: str) -> RankPlan:
    """Another rank for every module, in turn 1, 2, 3, as far as it is large enough."""
    plan = uniform_ranks(structure_of(model, "mixture", "rev"), 1, target_modules)
    ranks = {module.name: min(1 + i % 3, module.smaller_side) for i, module in enumerate(plan.modules)}
    return dataclasses.replace(plan, ranks=ranks, alphas={name: 32.0 * r for name, r in ranks.items()})


@pytest.mark.parametrize("target_modules", ["experts", "all-linear,experts"])
@pytest.mark.parametrize("model_type", MIXTURES)
def test_every_parameter_of_experts_has_its_rank_and_the_budget_is_peft_s_count(model_type, target_modules):
    model = mixture(model_type)
    plan = mixed_plan(model, target_modules)
    tokens = torch.arange(4, 12).reshape(1, -1)
    with torch.inference_mode():
        before = model(tokens).logits
        peft_model = apply_plan(model, plan)
        torch.testing.assert_close(peft_model(tokens).logits, before)
        for layer in adapted(peft_model).values():
            nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
        assert not torch.allclose(peft_model(tokens).logits, before, atol=1e-3)
    assert peft_model.get_nb_trainable_parameters()[0] == plan_budget(plan).n_adapter_params
    config = peft_model.peft_config["default"]
    stacked = {f"model.{module.name}" for module in plan.modules if module.n_experts > 1}
    assert set(config.target_parameters) == stacked and len(stacked) == 4
    assert {layer.r["default"] for layer in adapted(peft_model).values()} == {1, 2, 3}


@pytest.mark.parametrize("model_type", MIXTURES)
def test_an_adapter_of_experts_comes_back_from_its_files(model_type, tmp_path):
    model = mixture(model_type)
    peft_model = apply_plan(model, mixed_plan(model, "experts,attention-qv"))
    for layer in adapted(peft_model).values():
        nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    tokens = torch.arange(4, 12).reshape(1, -1)
    peft_model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(mixture(model_type), tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(again(tokens).logits, peft_model(tokens).logits)


def test_one_plan_of_experts_serves_the_bare_model_and_reads_without_a_model_too():
    plan = mixed_plan(mixture("mixtral"), "experts")
    assert plan_budget(plan).n_adapter_params == count_parameters(apply_plan(mixture("mixtral", AutoModel), plan))[0]
    config = plan.to_lora_config()
    assert config.target_modules == set() and config.target_parameters == list(plan.ranks)
    assert get_peft_model(mixture("mixtral"), config).get_nb_trainable_parameters()[0] == plan.n_adapter_params


def test_experts_of_another_shape_or_number_and_dropout_are_refused():
    plan = mixed_plan(mixture("mixtral"), "experts")
    with pytest.raises(InputError, match=r"lora_dropout is 0\.1; PEFT adapts parameters of experts, .* without dropout"):
        apply_plan(mixture("mixtral"), plan, lora_dropout=0.1)
    fewer = dataclasses.replace(plan, modules=tuple(dataclasses.replace(m, n_experts=3) for m in plan.modules))
    with pytest.raises(ModelError, match=r"\(in, out, experts\) = \(32, 128, 4\), planned \(32, 128, 3\)"):
        apply_plan(mixture("mixtral"), fewer)
    with pytest.raises(ModelError, match=r"LlamaModel lacks: layers\.0\.mlp\.experts\.gate_up_proj"):
        apply_plan(tiny_model("llama"), plan)


def deepseek_v3(auto_class=AutoModelForCausalLM) -> nn.Module:
    """One dense block, one with fused and shared experts, whose maps have the names that experts had in transformers 4."""
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 64}
    mla = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 8}
    groups = {"n_routed_experts": 4, "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "intermediate_size": 64}
    torch.manual_seed(0)
    return auto_class.from_config(AutoConfig.for_model("deepseek_v3", **shape, **mla, **groups, **EXPERTS)).eval()


@pytest.mark.parametrize("target_modules", ["mlp", "all-linear", "all-linear,experts"])
def test_shared_experts_are_adapted_although_peft_takes_their_names_for_those_of_experts(tmp_path, target_modules):
    plan = mixed_plan(deepseek_v3(), target_modules)
    plan.to_lora_config().save_pretrained(tmp_path / "config")
    bare = get_peft_model(deepseek_v3(), LoraConfig.from_pretrained(tmp_path / "config"))  # as anybody would, without us
    assert bare.get_nb_trainable_parameters()[0] == plan.n_adapter_params
    model = deepseek_v3()
    to_lora_config(plan, model)
    peft_model = apply_plan(model, plan)
    for layer in adapted(peft_model).values():
        nn.init.normal_(layer.lora_B["default"].weight, std=0.1)
    tokens = torch.arange(4, 12).reshape(1, -1)
    peft_model.save_pretrained(tmp_path)
    again = peft.PeftModel.from_pretrained(deepseek_v3(), tmp_path)
    with torch.inference_mode():
        torch.testing.assert_close(again(tokens).logits, peft_model(tokens).logits)
        assert not torch.allclose(again(tokens).logits, deepseek_v3()(tokens).logits, atol=1e-3)


def test_a_config_of_which_peft_makes_something_else_is_refused_before_it_is_given_out():
    plan = mixed_plan(deepseek_v3(), "mlp")
    unmarked = dataclasses.replace(plan, modules=tuple(dataclasses.replace(m, as_parameter=False) for m in plan.modules))
    with pytest.raises(ModelError, match=r"PEFT takes model\.layers\.0\.mlp\.down_proj.* for experts.*'attention'"):
        to_lora_config(unmarked, deepseek_v3())
    with pytest.raises(ModelError, match=r"PEFT adapted other modules than the plan names: .*experts"):
        check_config(unmarked.to_lora_config(), unmarked, deepseek_v3())
    model = tiny_model("llama")
    plan = mixed_plan(model, "attention")
    config = plan.to_lora_config()
    config.rank_pattern = {"self_attn.q_proj": 7, **config.rank_pattern}
    with pytest.raises(ModelError, match=r"PEFT gave layers\.0\.self_attn\.q_proj rank 7"):
        check_config(config, plan, model)
    assert not any(isinstance(module, LoraLayer) for module in model.modules())


def test_a_trial_reads_no_weights_and_sees_no_adapter_that_is_there():
    plan = mixed_plan(tiny_model("bert"), "attention")
    peft_model = apply_plan(classifier("bert"), plan, task_type="SEQ_CLS", modules_to_save=["bert.pooler"])
    copied = meta_copy(peft_model.get_base_model())
    fresh = {name: p.shape for name, p in classifier("bert").named_parameters()}
    assert {name: p.shape for name, p in copied.named_parameters()} == fresh
    assert {p.device.type for p in copied.parameters()} == {"meta"} and peft_model.device.type == "cpu"


@pytest.mark.parametrize("options", [{"use_dora": True}, {"init_lora_weights": "pissa"}, {"init_lora_weights": "olora"}])
def test_the_variants_are_tried_too(plan_for, options):
    assert to_lora_config(plan_for("bert"), classifier("bert"), **options).r


def plan_of_mixtral() -> RankPlan:
    return mixed_plan(mixture("mixtral"), "experts")


def test_what_peft_cannot_do_with_experts_or_transposed_maps_is_refused(plan_for):
    for options, given in [({"use_dora": True}, "use_dora"), ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa'")]:
        with pytest.raises(InputError, match=f"does not have {given} for parameters of experts"):
            apply_plan(mixture("mixtral"), plan_of_mixtral(), **options)
    with pytest.raises(InputError, match=r"'olora' does not know the transposed maps of GPT-2.*choose 'pissa' or 'default'"):
        apply_plan(classifier("gpt2"), plan_for("gpt2"), init_lora_weights="olora")


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama"])
def test_dora_adds_one_length_a_row_and_changes_nothing_at_first(plan_for, architecture):
    model, plan, tokens = classifier(architecture).eval(), plan_for(architecture, "all-linear", 0), torch.arange(4, 12).reshape(1, -1)
    with torch.inference_mode():
        before = model(tokens).logits
    peft_model = apply_plan(model, plan, use_dora=True).eval()
    rows = sum(module.out_features for module in plan.modules if plan.ranks[module.name])
    assert dora_params(plan) == rows > 0
    assert count_parameters(peft_model)[0] == plan_budget(plan).n_adapter_params + rows
    with torch.inference_mode():
        assert (peft_model(tokens).logits - before).abs().max() < 1e-5


BEGINNINGS = [(a, init) for a in ("bert", "gpt2", "llama") for init in ("gaussian", "orthogonal", "olora", "pissa")]
BEGINNINGS.remove(("gpt2", "olora"))  # refused, see above


@pytest.mark.parametrize(("architecture", "init"), BEGINNINGS)
def test_every_beginning_is_the_model_itself(plan_for, architecture, init):
    model, tokens = classifier(architecture).eval(), torch.arange(4, 12).reshape(1, -1)
    plan = uniform_ranks(structure_of(tiny_model(architecture), architecture, "rev"), 2)
    with torch.inference_mode():
        before = model(tokens).logits
    weights = {name: p.detach().clone() for name, p in model.named_parameters()}
    peft_model = apply_plan(model, plan, init_lora_weights=init).eval()
    with torch.inference_mode():
        assert (peft_model(tokens).logits - before).abs().max() < 1e-5
    layers = adapted(peft_model.get_base_model())
    assert all((layer.lora_B["default"].weight.abs().max() > 0) == (init != "gaussian") for layer in layers.values())
    for name, layer in layers.items():
        kept = layer.get_base_layer().weight
        assert torch.equal(kept, weights[f"{name}.weight"]) == (init in ("gaussian", "orthogonal"))
        # What is taken out is a part of the weight, no multiple of it.
        assert kept.norm() <= weights[f"{name}.weight"].norm() * (1 + 1e-6)


@pytest.mark.parametrize("use_dora", [False, True])
@pytest.mark.parametrize("init", ["olora", "pissa"])
def test_a_beginning_taken_out_of_the_base_weights_is_saved_as_plain_lora(plan_for, init, use_dora, tmp_path):
    def headed() -> nn.Module:
        torch.manual_seed(0)
        return classifier("bert").eval()

    peft_model = apply_plan(headed(), plan_for("bert"), task_type="SEQ_CLS", init_lora_weights=init, use_dora=use_dora).eval()
    initial = InitialAdapter(peft_model)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in peft_model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    initial.save_as_plain_lora(peft_model, tmp_path)
    config = LoraConfig.from_pretrained(tmp_path)
    assert config.init_lora_weights is True and config.r == 2 * peft_model.peft_config["default"].r
    again, tokens = peft.PeftModel.from_pretrained(headed(), tmp_path).eval(), torch.arange(4, 12).reshape(1, -1)
    with torch.inference_mode():
        ours = peft_model(tokens).logits
        assert (again(tokens).logits - ours).abs().max() < 1e-5
        assert (headed()(tokens).logits - ours).abs().max() > 1e-2
    assert peft_model.peft_config["default"].init_lora_weights == init  # saving changes nothing of what is trained on
