"""Blocks and linear maps are found in every family, from the config alone."""

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import ARCHITECTURES, EXTRA_ARCHITECTURES, N_LAYERS, save_tiny_model, tiny_config, tiny_model
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from gelora.errors import InputError, ModelError
from gelora.ranks import apply_plan, modules_to_save, uniform_ranks
from gelora.sources import head_size, target_kinds
from gelora.sources.structure import find_blocks, find_final_norm, model_structure, structure_of, without_weights
from gelora.sources.target_choice import TARGETS, select_modules

MEASURABLE = ARCHITECTURES + tuple(a for a in EXTRA_ARCHITECTURES if a != "albert")

# Written down from the papers and model cards: which maps a block has (kind: names, in the block), and whether the
# model is a decoder and ends in a norm outside of its blocks.
BERT_MLP = {"intermediate.dense", "output.dense"}
LLAMA_MLP = {"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"}
BERT = {"attention.self.query": "q", "attention.self.key": "k", "attention.self.value": "v", "attention.output.dense": "o"}
LLAMA = {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.o_proj": "o"}
FACTS = {
    "bert": ("encoder.layer", BERT, BERT_MLP, False, False),
    "roberta": ("encoder.layer", BERT, BERT_MLP, False, False),
    "deberta-v2": (
        "encoder.layer",
        {"attention.self.query_proj": "q", "attention.self.key_proj": "k", "attention.self.value_proj": "v", "attention.output.dense": "o"},
        BERT_MLP,
        False,
        False,
    ),
    "distilbert": (
        "transformer.layer",
        {"attention.q_lin": "q", "attention.k_lin": "k", "attention.v_lin": "v", "attention.out_lin": "o"},
        {"ffn.lin1", "ffn.lin2"},
        False,
        False,
    ),
    "modernbert": ("layers", {"attn.Wqkv": "qkv", "attn.Wo": "o"}, {"mlp.Wi", "mlp.Wo"}, False, True),
    "gpt2": ("h", {"attn.c_attn": "qkv", "attn.c_proj": "o"}, {"mlp.c_fc", "mlp.c_proj"}, True, True),
    "opt": (
        "decoder.layers",
        {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.out_proj": "o"},
        {"fc1", "fc2"},
        True,
        True,
    ),
    "llama": ("layers", LLAMA, LLAMA_MLP, True, True),
    "phi": (
        "layers",
        {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.dense": "o"},
        {"mlp.fc1", "mlp.fc2"},
        True,
        True,
    ),
    "qwen2": ("layers", LLAMA, LLAMA_MLP, True, True),
    "gemma": ("layers", LLAMA, LLAMA_MLP, True, True),
    "qwen3": ("layers", LLAMA, LLAMA_MLP, True, True),
    "gemma2": ("layers", LLAMA, LLAMA_MLP, True, True),
    "phi3": ("layers", {"self_attn.qkv_proj": "qkv", "self_attn.o_proj": "o"}, {"mlp.gate_up_proj", "mlp.down_proj"}, True, True),
    "gpt_neox": (
        "layers",
        {"attention.query_key_value": "qkv", "attention.dense": "o"},
        {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
        True,
        True,
    ),
    "mixtral": (
        "layers",
        LLAMA | {"mlp.experts.gate_up_proj": "expert", "mlp.experts.down_proj": "expert"},
        set(),
        True,
        True,
    ),
    "bloom": (
        "h",
        {"self_attention.query_key_value": "qkv", "self_attention.dense": "o"},
        {"mlp.dense_h_to_4h", "mlp.dense_4h_to_h"},
        True,
        True,
    ),
    "xmod": (
        "encoder.layer",
        BERT,
        {*BERT_MLP, "output.adapter_modules.en_XX.dense1", "output.adapter_modules.en_XX.dense2"},
        False,
        False,
    ),
    "roberta-prelayernorm": ("encoder.layer", BERT, BERT_MLP, False, True),
}


@pytest.mark.parametrize("architecture", MEASURABLE)
def test_blocks_and_kinds_are_those_of_the_family(architecture):
    path, attention, mlp, is_decoder, has_final_norm = FACTS[architecture]
    model = tiny_model(architecture)
    structure = structure_of(model, "tiny", "r1")
    expected = {
        (f"{path}.{i}.{name}", i + 1, kind) for i in range(N_LAYERS) for name, kind in (attention | dict.fromkeys(mlp, "mlp")).items()
    }
    assert {(m.name, m.block, m.kind) for m in structure.modules} == expected
    assert (structure.n_layers, structure.hidden_size) == (N_LAYERS, 32)
    assert (structure.is_decoder, structure.has_final_norm) == (is_decoder, has_final_norm)
    assert structure.n_params == model.num_parameters()
    for module in structure.modules:  # in_features and out_features are what the map really does
        if module.kind == "expert":
            assert model.get_parameter(module.name).shape == (module.n_experts, module.out_features, module.in_features)
            continue
        layer = model.get_submodule(module.name)
        assert layer(torch.zeros(2, module.in_features)).shape == (2, module.out_features)


@pytest.mark.parametrize("architecture", MEASURABLE)
def test_structure_from_the_config_equals_that_of_the_loaded_model(architecture, tmp_path):
    folder = save_tiny_model(architecture, tmp_path / architecture)
    from_config = model_structure(str(folder))
    assert from_config == structure_of(AutoModel.from_pretrained(folder), from_config.model_id, from_config.revision)


@pytest.mark.parametrize("architecture", ["bert", "deberta-v2", "gpt2", "opt", "llama", "modernbert"])
def test_a_head_and_adapters_change_neither_names_nor_blocks(architecture):
    config = tiny_config(architecture, num_labels=3)
    bare = structure_of(AutoModel.from_config(config), "tiny", "r1")
    classifier = AutoModelForSequenceClassification.from_config(config)
    headed = structure_of(classifier, "tiny", "r1")
    assert headed.modules == bare.modules
    path, blocks = find_blocks(classifier)
    adapted = get_peft_model(classifier, LoraConfig(r=2, target_modules="all-linear"))
    adapted_path, adapted_blocks = find_blocks(adapted)
    assert adapted_path == path and [id(b) for b in adapted_blocks] == [id(b) for b in blocks]
    with pytest.raises(ModelError, match="already carries adapters"):
        structure_of(adapted, "tiny", "r1")


def test_a_70b_shape_takes_no_memory():
    config = AutoConfig.for_model(
        "llama",
        hidden_size=8192,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        intermediate_size=28672,
        vocab_size=128256,
        tie_word_embeddings=False,
    )
    model = without_weights(config)
    structure = structure_of(model, "llama-70b", "r1")
    # Llama 3 70B has 70.55e9 parameters, 128256 * 8192 of them in the language-model head that a base model lacks.
    assert structure.n_params == 70_553_706_496 - 128_256 * 8192
    assert len(structure.modules) == 80 * 7
    assert {p.device.type for p in model.parameters()} == {"meta"}


def test_the_bundled_model_has_the_published_shape():
    structure = model_structure("all-MiniLM-L6-v2")
    assert (structure.n_layers, structure.hidden_size, structure.n_params, structure.is_decoder) == (6, 384, 22_713_216, False)
    assert [m.kind for m in structure.modules if m.block == 6] == ["q", "k", "v", "o", "mlp", "mlp"]


def test_the_real_llama_has_five_blocks(shared_data):
    structure = model_structure(str(shared_data / "models" / "stories260K"))
    assert (structure.n_layers, structure.n_params, structure.is_decoder) == (5, 260_032, True)
    assert {(m.kind, m.in_features, m.out_features) for m in structure.modules if m.block == 1} == {
        ("q", 64, 64),
        ("k", 64, 32),
        ("v", 64, 32),
        ("o", 64, 64),
        ("mlp", 64, 172),
        ("mlp", 172, 64),
    }


def test_deberta_norm_of_relative_positions_is_no_final_norm_and_gpt2s_is_found():
    deberta = tiny_model("deberta-v2")
    assert isinstance(deberta.encoder.LayerNorm, nn.LayerNorm) and find_final_norm(deberta) is None
    gpt2 = tiny_model("gpt2")
    assert find_final_norm(gpt2) is gpt2.ln_f
    assert find_final_norm(tiny_model("opt", do_layer_norm_before=False)) is None


def test_position_projections_of_deberta_are_kept_out_of_attention():
    structure = structure_of(tiny_model("deberta-v2", share_att_key=False), "tiny", "r1")
    others = {m.name for m in structure.modules if m.kind == "other" and m.block == 2}
    assert others == {"encoder.layer.1.attention.self.pos_key_proj", "encoder.layer.1.attention.self.pos_query_proj"}
    assert not others & {m.name for m in select_modules(structure, "attention")}


def test_models_without_separate_blocks_are_refused_with_the_reason(tmp_path):
    with pytest.raises(ModelError, match="shares one block"):
        model_structure(str(save_tiny_model("albert", tmp_path)))
    t5 = AutoConfig.for_model("t5", d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=100)
    with pytest.raises(ModelError, match="encoder-decoder"):
        find_blocks(AutoModel.from_config(t5))
    with pytest.raises(ModelError, match="no config"):
        find_blocks(nn.Linear(2, 2))


def test_a_config_that_builds_no_model_is_one_sentence():
    with pytest.raises(ModelError, match="No model can be built from the config of type 'llama'"):
        without_weights(tiny_config("llama", hidden_act="no such activation"))


def kinds(structure, target):
    return {m.kind for m in select_modules(structure, target)}


def test_targets_select_by_kind():
    bert, gpt2 = (structure_of(tiny_model(a), a, "r1") for a in ("bert", "gpt2"))
    assert kinds(bert, "attention") == {"q", "k", "v", "o"} and kinds(gpt2, "attention") == {"qkv", "o"}
    assert kinds(bert, "attention-qv") == {"q", "v"} and kinds(gpt2, "attention-qv") == {"qkv"}
    assert kinds(bert, "mlp") == kinds(gpt2, "mlp") == {"mlp"}
    assert select_modules(bert, "all-linear") == bert.modules
    for target in [target for target in TARGETS if target != "experts"]:
        assert {m.block for m in select_modules(bert, target)} == {1, 2, 3}


def test_endings_match_whole_parts_of_a_name_and_keep_the_models_order():
    structure = structure_of(tiny_model("bert"), "tiny", "r1")
    assert [m.name for m in select_modules(structure, ["value", "query"])][:2] == [
        "encoder.layer.0.attention.self.query",
        "encoder.layer.0.attention.self.value",
    ]
    assert {m.kind for m in select_modules(structure, "attention.output.dense")} == {"o"}
    assert len(select_modules(structure, "dense, query")) == 4 * N_LAYERS
    assert len(select_modules(structure, ["encoder.layer.1.output.dense"])) == 1
    with pytest.raises(InputError, match=r"'uery'.*names among: query, key, value, dense"):
        select_modules(structure, ["query", "uery"])


@pytest.mark.parametrize("nothing", ["", [], "attention-kv", ["no.such"]])
def test_a_choice_that_matches_nothing_names_what_is_legal(nothing):
    with pytest.raises(InputError, match="attention, attention-qv, mlp, all-linear"):
        select_modules(structure_of(tiny_model("llama"), "tiny", "r1"), nothing)


def test_a_target_kind_that_the_model_lacks_points_to_all_linear():
    structure = structure_of(tiny_model("mixtral"), "tiny", "r1")  # its feed-forward maps are experts, left out
    with pytest.raises(InputError, match=r"no mlp module.*it has attention \(q_proj.*experts \(gate_up_proj, down_proj\).*'all-linear'"):
        select_modules(structure, "mlp")
    without = dataclasses.replace(structure, modules=tuple(m for m in structure.modules if m.kind == "o"))
    assert kinds(without, "attention") == {"o"}


def on_meta(model_type, auto_class="AutoModel", **options):
    """A model of the type's default config with these options, on the meta device."""
    return without_weights(AutoConfig.for_model(model_type, **options), auto_class)


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "head_dim": 8,
}


def test_choices_mix_words_and_names_and_experts_come_only_when_asked_for():
    mixtral, opt = (structure_of(tiny_model(a), a, "r1") for a in ("mixtral", "opt"))
    assert kinds(mixtral, "all-linear") == {"q", "k", "v", "o"}
    assert kinds(mixtral, "experts") == {"expert"}
    assert select_modules(mixtral, "all-linear, experts") == select_modules(mixtral, ["experts", "attention"]) == mixtral.modules
    assert select_modules(opt, "attention,mlp") == opt.modules
    mixed = select_modules(opt, "attention-qv, layers.1.fc1")
    assert [m.name.partition("layers.")[2] for m in mixed if m.block == 2] == ["1.self_attn.v_proj", "1.self_attn.q_proj", "1.fc1"]
    with pytest.raises(InputError, match="no experts module"):
        select_modules(opt, "attention,experts")


def test_a_name_means_experts_only_where_it_says_so():
    options = {"moe_intermediate_size": 16, "shared_expert_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}
    structure = structure_of(on_meta("qwen2_moe", **SMALL, **options), "m", "r1")
    assert {m.name.partition("mlp.")[2] for m in select_modules(structure, "down_proj")} == {"shared_expert.down_proj"}
    assert {m.name.partition("mlp.")[2] for m in select_modules(structure, "experts.down_proj")} == {"experts.down_proj"}
    assert {m.name.partition("mlp.")[2] for m in select_modules(structure, "gate_up_proj")} == {"experts.gate_up_proj"}
    assert {m.kind for m in structure.modules if m.name.endswith("shared_expert_gate")} == {"other"}
    assert structure.traits.n_experts_per_token == 2


def test_experts_stored_the_other_way_round_have_their_sides_the_right_way_round():
    model = on_meta("gpt_oss", **SMALL, num_local_experts=4)
    structure = structure_of(model, "m", "r1")
    assert model.layers[0].mlp.experts.gate_up_proj.shape == (4, 32, 128)  # experts, in, out; Mixtral has experts, out, in
    experts = [m for m in structure.modules if m.kind == "expert" and m.block == 1]
    assert [(m.in_features, m.out_features, m.n_experts) for m in experts] == [(32, 128, 4), (64, 32, 4)]
    assert [m.n_params_per_rank for m in experts] == [4 * 160, 4 * 96]


def test_experts_that_are_modules_are_one_map_each():
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.ModuleList([nn.Linear(8, 16), nn.Linear(8, 16)])
            self.router = nn.Linear(8, 2)

    found = target_kinds.linear_maps([Block()], "layers", ("odd",))
    assert [(m.name, m.kind, m.n_experts) for m in found] == [
        ("layers.0.experts.0", "expert", 1),
        ("layers.0.experts.1", "expert", 1),
        ("layers.0.router", "other", 1),
    ]


def test_pefts_own_table_is_read_without_importing_peft(monkeypatch, caplog):
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as table

    target_kinds._peft_targets.cache_clear()
    read = target_kinds._peft_targets()
    assert read == {name: targets if isinstance(targets, str) else tuple(targets) for name, targets in table.items()}
    assert len(read) > 20
    monkeypatch.setattr(target_kinds.importlib.util, "find_spec", lambda name: None)
    target_kinds._peft_targets.cache_clear()
    with caplog.at_level("WARNING"):
        assert target_kinds._peft_targets() == {}
    assert "found by structure alone" in caplog.text
    target_kinds._peft_targets.cache_clear()


def test_what_peft_names_inside_attention_counts_as_query_and_value(monkeypatch):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.ModuleDict({"funnel": nn.Linear(8, 24), "o_proj": nn.Linear(8, 8), "other": nn.Linear(8, 8)})
            self.funnel = nn.Linear(8, 8)

    monkeypatch.setattr(target_kinds, "_peft_targets", lambda: {"odd": ("funnel", "o_proj")})
    found = {m.name.removeprefix("layers.0."): m.kind for m in target_kinds.linear_maps([Block()], "layers", ("odd",))}
    assert found == {"attention.funnel": "qkv", "attention.o_proj": "o", "attention.other": "other", "funnel": "other"}
    monkeypatch.setattr(target_kinds, "_peft_targets", lambda: {"odd": r".*0\.attention\.oth.r"})
    found = {m.name.removeprefix("layers.0."): m.kind for m in target_kinds.linear_maps([Block()], "layers", ("odd",))}
    assert (found["attention.other"], found["attention.funnel"]) == ("qkv", "other")


def test_maps_that_an_adapter_could_not_change_are_left_out():
    class Block(nn.Module):
        def __init__(self, shared: nn.Module) -> None:
            super().__init__()
            self.attn = nn.MultiheadAttention(8, 2)  # reads its out_proj's weight without calling it
            self.shared = shared
            self.fc1 = nn.Linear(8, 16)

    shared = nn.Linear(8, 8)
    found = target_kinds.linear_maps([Block(shared), Block(shared)], "layers", ("odd",))
    assert [m.name for m in found] == ["layers.0.fc1", "layers.1.fc1"]


def test_attention_is_known_by_its_maps_where_its_name_does_not_say_so():
    options = {"num_hidden_layers": 3, "lru_width": 32, "vocab_size": 100}
    griffin = structure_of(on_meta("recurrent_gemma", **SMALL | options), "griffin", "r1")
    assert {m.name.rpartition(".")[2]: m.kind for m in select_modules(griffin, "attention")} == {
        "q_proj": "q",
        "k_proj": "k",
        "v_proj": "v",
        "o_proj": "o",
    }
    assert {m.block for m in select_modules(griffin, "attention")} == {3}  # the other blocks are recurrent
    rwkv = structure_of(on_meta("rwkv", hidden_size=32, num_hidden_layers=2, vocab_size=100), "rwkv", "r1")
    assert {m.name.partition("attention.")[2]: m.kind for m in select_modules(rwkv, "attention")} == {
        "key": "k",
        "value": "v",
        "receptance": "q",
        "output": "o",
    }


def test_maps_whose_weights_a_fused_kernel_reads_are_left_out():
    falcon = structure_of(on_meta("falcon_h1", **SMALL, mamba_d_ssm=32, mamba_n_heads=4, mamba_d_head=8, vocab_size=100), "falcon", "r1")
    assert {m.name.partition("mamba.")[2] for m in falcon.modules if "mamba" in m.name} == {"in_proj"}  # PEFT refuses its out_proj
    assert kinds(falcon, "attention") == {"q", "k", "v", "o"}


def test_the_text_part_of_a_model_of_texts_and_pictures_is_taken():
    clip = on_meta("clip")
    structure = structure_of(clip, "clip", "r1")
    assert find_blocks(clip)[0] == "text_model.encoder.layers" and structure.hidden_size == 512
    assert {m.in_features for m in structure.modules if m.kind == "q"} == {512}


@pytest.mark.parametrize(
    ("model_type", "sentence"),
    [
        ("swin", r"stages of different widths \(depths \[2, 2, 6, 2\]\)"),
        ("xlm", r"XLMModel keeps its attention \(attentions\) and its feed-forward maps \(ffns\) in separate lists"),
        ("lxmert", "No list of separate transformer blocks"),
        ("bart", "bart is an encoder-decoder"),
    ],
)
def test_models_without_blocks_of_one_width_are_refused(model_type, sentence):
    with pytest.raises(ModelError, match=sentence):
        structure_of(on_meta(model_type), "m", "r1")


def test_a_model_without_linear_attention_projections_names_what_it_has():
    fnet = structure_of(on_meta("fnet", hidden_size=32, num_hidden_layers=2, intermediate_size=64), "fnet", "r1")
    with pytest.raises(InputError, match=r"fnet has no attention module.*it has mlp \(dense\)\. Choose 'all-linear'"):
        select_modules(fnet, "attention,mlp")


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "phi"])
def test_the_output_map_of_a_language_model_is_counted_where_it_is_one_of_its_own(architecture):
    structure = structure_of(tiny_model(architecture), "tiny", "r1")
    headed = AutoModelForCausalLM.from_config(tiny_config(architecture))
    bias = headed.lm_head.bias.numel() if headed.lm_head.bias is not None else 0  # Phi's
    assert structure.n_params + structure.n_lm_head_params + bias == headed.num_parameters()
    assert structure.vocab_size == headed.lm_head.out_features


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_has_as_many_parameters_as_peft_trains_beside_the_adapter(architecture, tmp_path):
    folder = save_tiny_model(architecture, tmp_path / "m")
    model, info = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=5, output_loading_info=True)
    plan = uniform_ranks(model_structure(str(folder)), 2)
    saved = modules_to_save(model, info["missing_keys"])
    trained = apply_plan(model, plan, task_type="SEQ_CLS", modules_to_save=saved).get_nb_trainable_parameters()[0]
    assert head_size(str(folder), n_labels=5) == trained - plan.n_adapter_params > 0


def test_a_model_without_a_classifier_has_no_head(tmp_path):
    AutoConfig.for_model("codegen", n_embd=32, n_layer=2, n_head=4).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="No model can be built from the config of type 'codegen'"):
        head_size(str(tmp_path))
    with pytest.raises(InputError, match="n_labels is 0"):
        head_size(str(tmp_path), n_labels=0)
