"""The state between attention and MLP against each architecture's own arithmetic; parallel blocks are refused."""

import numpy as np
import pytest
import torch
from tiny_models import N_LAYERS, save_tiny_model, tiny_model, tiny_tokenizer

from gelora.errors import InputError, ModelError
from gelora.geometry import estimate_profile
from gelora.ranks import allocate_ranks, match_budget
from gelora.records import DataChoice, IdProfile, Sample, SampleSource
from gelora.sources import extract_hidden_states, model_structure

TEXTS = tuple(f"the film number {i} was {'good' if i % 2 else 'bad'} and {'long ' * (i % 5)}slow" for i in range(40))
SAMPLE = Sample(TEXTS, None, None, None, "unlabeled", SampleSource(DataChoice("texts"), "rev", 0, len(TEXTS), True, "digest"))

# the module of block 1, and whether its input or its output is the state after attention's addition, by the architecture's own code
PLACES = {
    "bert": ("encoder.layer.1.attention", "output"),
    "deberta-v2": ("encoder.layer.1.attention", "output"),
    "distilbert": ("transformer.layer.1.sa_layer_norm", "output"),
    "roberta": ("encoder.layer.1.attention", "output"),
    "modernbert": ("layers.1.mlp_norm", "input"),
    "gpt2": ("h.1.ln_2", "input"),
    "opt": ("decoder.layers.1.final_layer_norm", "input"),
    "llama": ("layers.1.post_attention_layernorm", "input"),
    "qwen2": ("layers.1.post_attention_layernorm", "input"),
    "gemma": ("layers.1.post_attention_layernorm", "input"),
    "gemma2": ("layers.1.pre_feedforward_layernorm", "input"),
    "phi3": ("layers.1.post_attention_layernorm", "input"),
}


@pytest.mark.parametrize("architecture", PLACES)
def test_the_middle_is_what_the_model_s_own_code_adds_up(architecture, tmp_path):
    folder = str(save_tiny_model(architecture, tmp_path / architecture))
    halves = extract_hidden_states(folder, SAMPLE, points="halves", sinks="keep", cache=False)
    whole = extract_hidden_states(folder, SAMPLE, sinks="keep", cache=False)
    assert halves.values.shape[0] == 2 * N_LAYERS + 1 and halves.model.points == "halves"
    np.testing.assert_array_equal(halves.values[::2], whole.values)
    assert halves.layer_names[:3] == ("embeddings", "block 1 attention", "block 1 MLP")
    model, tokenizer, seen = tiny_model(architecture).eval(), tiny_tokenizer(architecture), []
    name, side = PLACES[architecture]

    def look(module, args, output):
        state = args[0] if side == "input" else output
        seen.append(state[0] if isinstance(state, tuple) else state)

    model.get_submodule(name).register_forward_hook(look)
    with torch.no_grad():
        for row in (0, 7, 23):
            seen.clear()
            model(**tokenizer(TEXTS[row], return_tensors="pt"))
            state = seen[0].reshape(-1, seen[0].shape[-1]).mean(0)
            np.testing.assert_allclose(halves.values[3, row], state.numpy(), atol=2e-5)


@pytest.mark.parametrize("architecture", ["phi", "gpt_neox"])
def test_parallel_blocks_are_refused_in_one_sentence(architecture, tmp_path):
    folder = str(save_tiny_model(architecture, tmp_path / architecture))
    with pytest.raises(ModelError, match="parallel: attention and MLP start from the same state"):
        extract_hidden_states(folder, SAMPLE, points="halves", cache=False)


def test_a_mixture_whose_experts_are_no_linear_maps_is_refused(tmp_path):
    folder = str(save_tiny_model("mixtral", tmp_path / "mixtral"))
    with pytest.raises(ModelError, match="not two halves that can be told apart"):
        extract_hidden_states(folder, SAMPLE, points="halves", cache=False)
    with pytest.raises(InputError, match="points"):
        extract_hidden_states(folder, SAMPLE, points="thirds", cache=False)


def test_each_half_has_its_own_rise_and_rank(tmp_path):
    folder = str(save_tiny_model("bert", tmp_path / "bert"))
    profile = estimate_profile(extract_hidden_states(folder, SAMPLE, points="halves", cache=False), estimators=["twonn"])
    assert IdProfile.from_json(profile.to_json()) == profile
    curve = profile.dimensions("twonn")
    plan = allocate_ranks(profile, "all-linear", offset=2)
    structure = model_structure(folder)
    assert plan.modules == structure.modules and profile.model.whole == structure and structure.halved == profile.model
    for module in plan.modules:
        start = 2 * (module.block - 1) + (module.kind == "mlp")
        rise = curve[start + 1] - curve[start]
        assert plan.ranks[module.name] == max(int(np.ceil(rise - 1e-6)), 0) + 2
    ranks = {(module.block, module.kind == "mlp"): plan.ranks[module.name] for module in plan.modules}
    assert all(plan.block_notes[b] == f"by halves: attention {ranks[b, False]}, MLP {ranks[b, True]}" for b in range(1, N_LAYERS + 1))
    assert len({(ranks[b, False], ranks[b, True]) for b in range(1, N_LAYERS + 1)}) > 1
    budget = 3 * plan.n_adapter_params
    assert match_budget(profile, budget, "all-linear").n_adapter_params <= budget


def test_the_states_of_halves_and_blocks_are_kept_apart(tmp_path, gelora_home):
    folder = str(save_tiny_model("bert", tmp_path / "bert"))
    shapes = [extract_hidden_states(folder, SAMPLE, points=points).values.shape[0] for points in ("blocks", "halves", "blocks", "halves")]
    assert shapes == [N_LAYERS + 1, 2 * N_LAYERS + 1] * 2
