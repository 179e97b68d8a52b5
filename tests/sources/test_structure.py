"""Blocks and linear maps are found in every family, from the config alone."""

import dataclasses

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import ARCHITECTURES, EXTRA_ARCHITECTURES, N_LAYERS, save_tiny_model, tiny_config, tiny_model
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from gelora.errors import InputError, ModelError
from gelora.sources.structure import TARGETS, find_blocks, find_final_norm, model_structure, select_modules, structure_of

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
    "mixtral": ("layers", LLAMA, set(), True, True),
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
    from gelora.sources.structure import _without_weights

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
    model = _without_weights(config)
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
    from gelora.sources.structure import _without_weights

    with pytest.raises(ModelError, match="No model can be built from the config of type 'llama'"):
        _without_weights(tiny_config("llama", hidden_act="no such activation"))


def kinds(structure, target):
    return {m.kind for m in select_modules(structure, target)}


def test_targets_select_by_kind():
    bert, gpt2 = (structure_of(tiny_model(a), a, "r1") for a in ("bert", "gpt2"))
    assert kinds(bert, "attention") == {"q", "k", "v", "o"} and kinds(gpt2, "attention") == {"qkv", "o"}
    assert kinds(bert, "attention-qv") == {"q", "v"} and kinds(gpt2, "attention-qv") == {"qkv"}
    assert kinds(bert, "mlp") == kinds(gpt2, "mlp") == {"mlp"}
    assert select_modules(bert, "all-linear") == bert.modules
    for target in TARGETS:
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
    with pytest.raises(InputError, match=r"no mlp module.*'all-linear'"):
        select_modules(structure, "mlp")
    without = dataclasses.replace(structure, modules=tuple(m for m in structure.modules if m.kind == "o"))
    assert kinds(without, "attention") == {"o"}
