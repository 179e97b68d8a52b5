"""The probed Jacobian of a block against the whole one, by PyTorch's own differentiation of the same map."""

import json

import numpy as np
import pytest
import torch
from tiny_models import HIDDEN_SIZE, SENTENCES, tiny_model, tiny_tokenizer

from gelora.errors import Cancelled, InputError
from gelora.sources import find_blocks, load_sample, probe_block
from gelora.sources.block_jacobian import probe_loaded_block
from gelora.sources.structure import base_model_of


@pytest.fixture
def sample(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": text}) + "\n" for text in SENTENCES))
    return load_sample(str(rows), n_samples=len(SENTENCES))


def silent(stage, done, total):
    """Nobody waits."""


def probed(architecture, sample, **options):
    network, tokenizer = tiny_model(architecture), tiny_tokenizer(architecture)
    options = {"n_points": 2, "n_probes": HIDDEN_SIZE, "max_length": 12, "seed": 3, "progress": silent} | options
    return network, tokenizer, probe_loaded_block(network, tokenizer, sample, 2, **options)


def whole_jacobian(network, tokenizer, text, position):
    """Block 2 run inside the model itself, its input replaced at one position by a hook: [hidden_size, hidden_size]."""
    block = find_blocks(network)[1][1]
    inputs = tokenizer([text], truncation=True, max_length=12, return_tensors="pt")
    seen = {}

    def output_at(state):
        def replace(module, args, kwargs):
            states = (args[0] if args else kwargs["hidden_states"]).clone()
            seen.setdefault("state", states[0, position].detach().clone())
            if state is not None:
                states[0, position] = state
            return ((states, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": states})

        def keep(module, args, output):
            seen["output"] = (output[0] if isinstance(output, tuple) else output)[0, position]

        hooks = [block.register_forward_pre_hook(replace, with_kwargs=True), block.register_forward_hook(keep)]
        try:
            base_model_of(network)(**inputs)
        finally:
            for hook in hooks:
                hook.remove()
        return seen["output"]

    with torch.no_grad():
        output_at(None)
    return torch.autograd.functional.jacobian(output_at, seen["state"]).numpy()


@pytest.mark.parametrize(
    "architecture", ["bert", "roberta", "deberta-v2", "distilbert", "modernbert", "gpt2", "llama", "qwen3", "mixtral", "xmod", "bloom"]
)
def test_with_as_many_probes_as_coordinates_the_values_are_those_of_the_whole_jacobian(architecture, sample):
    network, tokenizer, found = probed(architecture, sample)
    for i, (text, position) in enumerate(zip(found.texts, found.positions, strict=True)):
        jacobian = whole_jacobian(network, tokenizer, text, position)
        largest = np.linalg.norm(jacobian, 2)
        np.testing.assert_allclose(found.singular_values[i], np.linalg.svd(jacobian, compute_uv=False), atol=1e-4 * largest)
        update = np.linalg.svd(jacobian - np.eye(HIDDEN_SIZE), compute_uv=False)
        np.testing.assert_allclose(found.update_values[i], update, atol=1e-4 * largest)


def test_fewer_probes_give_lower_bounds(sample):
    network, tokenizer, found = probed("llama", sample, n_probes=6)
    assert found.singular_values.shape == (2, 6) and list(found.ranks) == [6, 6]
    for i, (text, position) in enumerate(zip(found.texts, found.positions, strict=True)):
        exact = np.linalg.svd(whole_jacobian(network, tokenizer, text, position), compute_uv=False)
        assert (found.singular_values[i] <= exact[:6] * (1 + 1e-5)).all()
        assert found.singular_values[i, 0] > 0.5 * exact[0]


def test_a_norm_at_the_end_of_a_block_takes_two_directions(sample):
    # LayerNorm's output has a fixed mean and a fixed length before its own scale and shift
    assert list(probed("bert", sample)[2].ranks) == [HIDDEN_SIZE - 2] * 2
    assert list(probed("llama", sample)[2].ranks) == [HIDDEN_SIZE] * 2


def test_a_point_is_as_long_as_its_state_on_entering_the_block_beside_the_median_of_all_tokens(sample):
    network, tokenizer, found = probed("gpt2", sample)
    assert found.norms.max() < 5
    network.get_input_embeddings().weight.data[tokenizer.convert_tokens_to_ids(found.tokens[0])] *= 50
    options = {"n_points": 2, "n_probes": 2, "max_length": 12, "seed": 3, "progress": silent}
    found = probe_loaded_block(network, tokenizer, sample, 2, **options)
    entering = []
    for text in found.texts:
        with torch.no_grad():
            states = network(**tokenizer([text], truncation=True, max_length=12, return_tensors="pt"), output_hidden_states=True)
        entering.append(states.hidden_states[1][0].norm(dim=-1).numpy())
    median = np.median(np.concatenate(entering))
    expected = [norms[position] / median for norms, position in zip(entering, found.positions, strict=True)]
    np.testing.assert_allclose(found.norms, expected, rtol=1e-4)
    assert found.norms[0] > 5 and found.n_tokens == sum(map(len, entering))


def test_no_more_probes_than_coordinates_and_the_model_is_left_as_it_was(sample):
    network, _, found = probed("llama", sample, n_probes=1000)
    assert found.n_probes == HIDDEN_SIZE
    assert network.config.use_cache is True
    assert not any(block._forward_pre_hooks for block in find_blocks(network)[1])


def test_progress_counts_to_its_end_and_may_end_the_work(sample):
    seen = []
    probed("bert", sample, progress=lambda *step: seen.append(step))
    assert seen[-1] == ("Probing", seen[-1][2], seen[-1][2]) and [s[1] for s in seen] == sorted(s[1] for s in seen)

    def cancel(stage, done, total):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        probed("bert", sample, progress=cancel)


@pytest.mark.parametrize("wrong", [{"n_points": 0}, {"n_probes": 0}, {"n_points": 99}, {"max_length": 1}])
def test_what_is_not_legal_is_said(sample, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        probed("bert", sample, **wrong)


def test_a_model_of_the_catalog_by_its_folder(sample, tmp_path):
    from tiny_models import save_tiny_model

    folder = str(save_tiny_model("bert", tmp_path / "model"))
    assert probe_block(folder, sample, 1, n_points=1, n_probes=4).singular_values.shape == (1, 4)
    with pytest.raises(InputError, match="block is 9"):
        probe_block(folder, sample, 9)
