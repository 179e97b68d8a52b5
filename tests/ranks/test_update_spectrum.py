"""Singular values of LoRA updates against the whole product and PEFT's own; the two small models against their definitions."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from peft import LoraConfig, get_peft_model
from tiny_models import tiny_model

from gelora.errors import InputError
from gelora.ranks import adapter_spectra, random_factors, softmax_fisher, spectrum_of, update_of_each_rank
from gelora.ranks.peft import expressions


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 16), st.floats(0.1, 64), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_the_values_are_those_of_the_whole_product(n_in, n_out, r, scaling, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((r, n_in)), rng.standard_normal((n_out, r))
    found = spectrum_of(a, b, scaling)
    whole = np.linalg.svd(scaling * b @ a, compute_uv=False)
    k = len(found.singular_values)
    assert k == min(r, n_in, n_out)
    np.testing.assert_allclose(found.singular_values, whole[:k], atol=1e-9 * whole[0])
    np.testing.assert_allclose(whole[k:], 0, atol=1e-9 * whole[0])
    assert found.rank <= r and 1 - 1e-9 <= found.effective_rank <= k + 1e-9


def test_an_untrained_update_has_no_rank_and_equal_values_have_full_effective_rank():
    a, b = random_factors(4, 20, 30, b_share=0.0)
    assert (spectrum_of(a, b, 2.0).rank, spectrum_of(a, b, 2.0).effective_rank) == (0, 0.0)
    assert spectrum_of(np.eye(3, 8), np.eye(5, 3), 2.0).effective_rank == pytest.approx(3)
    with pytest.raises(InputError, match="r is 21"):
        random_factors(21, 20, 30)


@pytest.mark.parametrize("use_rslora", [False, True])
def test_a_saved_adapter_has_the_spectra_of_what_peft_adds(tmp_path, use_rslora):
    config = LoraConfig(
        r=2, lora_alpha=6, target_modules=["query", "value"], rank_pattern={"layer.1.attention.self.query": 3},
        alpha_pattern={"layer.1.attention.self.query": 12}, use_rslora=use_rslora, init_lora_weights=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = get_peft_model(tiny_model("bert"), config)
    model.save_pretrained(tmp_path)
    found = {spectrum.module: spectrum for spectrum in adapter_spectra(tmp_path)}
    layers = {name.removeprefix("base_model.model."): m for name, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    assert set(found) == set(layers) and len(found) == 6
    for name, layer in layers.items():
        whole = torch.linalg.svdvals(layer.get_delta_weight("default").detach().double()).numpy()
        np.testing.assert_allclose(found[name].singular_values, whole[: found[name].r], rtol=1e-4)
        assert found[name].rank == found[name].r == (3 if "1.attention.self.query" in name else 2)


def test_modules_come_by_block_number(tmp_path):
    from safetensors.numpy import save_file

    names = [f"base_model.model.layers.{i}.q_proj.lora_{part}.weight" for i in (10, 2, 0) for part in "AB"]
    save_file({name: np.ones((1, 4) if "_A" in name else (4, 1), np.float32) for name in names}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1, "lora_alpha": 1}))
    assert [s.module for s in adapter_spectra(tmp_path)] == [f"layers.{i}.q_proj" for i in (0, 2, 10)]


def test_a_pattern_that_no_name_is_ever_compared_with_to_the_end_is_refused(tmp_path, monkeypatch):
    from safetensors.numpy import save_file

    monkeypatch.setattr(expressions, "SECONDS", 0.2)
    name = "base_model.model.layers." + "a" * 30
    save_file({f"{name}.lora_A.weight": np.ones((1, 4), np.float32), f"{name}.lora_B.weight": np.ones((4, 1), np.float32)},
              tmp_path / "adapter_model.safetensors")  # fmt: skip
    raw = {"peft_type": "LORA", "r": 1, "alpha_pattern": {r"(?:[a-z]|[a-z.]|[_\d])+(?:[a-z]|[a-z.]|[_\d])+(?=\d$)": 2}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(raw))
    with pytest.raises(InputError, match=r"alpha_pattern has the expression .* takes longer than 0\.2 s"):
        adapter_spectra(tmp_path)


def test_what_is_no_adapter_is_said(tmp_path):
    with pytest.raises(InputError, match=r"adapter_config\.json cannot be read"):
        adapter_spectra(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "IA3"}))
    with pytest.raises(InputError, match="peft_type is IA3"):
        adapter_spectra(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 1}))
    with pytest.raises(InputError, match=r"adapter_model\.safetensors cannot be read"):
        adapter_spectra(tmp_path)


# the two small models


def test_the_fisher_information_is_the_mean_square_of_the_score():
    points = np.random.default_rng(0).standard_normal((5, 3))
    found = softmax_fisher(points, 3, seed=4)
    weights = torch.tensor(np.random.default_rng([17, 4]).standard_normal((3, 3)) / np.sqrt(3), requires_grad=True)
    fisher = np.zeros((9, 9))
    for x in torch.tensor(points):
        p = torch.softmax(weights @ x, 0).detach()
        for y in range(3):  # over y exactly
            score = torch.autograd.grad(torch.log_softmax(weights @ x, 0)[y], weights)[0].numpy().ravel()
            fisher += float(p[y]) * np.outer(score, score) / len(points)
    np.testing.assert_allclose(found.eigenvalues, np.maximum(np.linalg.eigvalsh(fisher)[::-1], 0), atol=1e-12)
    assert (found.rank, found.most, found.spanned) == (6, 6, 3)


@given(st.integers(1, 5), st.integers(2, 4))
@settings(max_examples=15, deadline=None)
def test_the_fisher_rank_is_the_span_times_the_classes_less_one(d, n_classes):
    flat = np.random.default_rng(d).standard_normal((60, d)) @ np.random.default_rng(9).standard_normal((d, 8))
    assert softmax_fisher(flat, n_classes).rank == (n_classes - 1) * d


def test_a_rotation_needs_two_ranks_a_plane_and_changes_no_distance():
    points = np.random.default_rng(0).standard_normal((200, 10))
    found = update_of_each_rank(points, 3, 1.0)
    assert found.needed == 6 and found.errors[0] == 1
    np.testing.assert_allclose(np.linalg.norm(found.after[1:] - found.after[0], axis=1), np.linalg.norm(points[1:] - points[0], axis=1))
    assert (np.diff(found.errors) <= 1e-12).all()
    # the best update of rank 2 on the points, by its own definition: project the wanted change on its two leading directions
    change = found.after - points
    u, s, vt = np.linalg.svd(change, full_matrices=False)
    matrix = np.linalg.lstsq(points, (u[:, :2] * s[:2]) @ vt[:2], rcond=None)[0]
    left = np.sum((change - points @ matrix) ** 2) / np.sum(change**2)
    assert np.linalg.matrix_rank(matrix, tol=1e-8) == 2 and left == pytest.approx(found.errors[2])


def test_what_is_not_legal_is_said():
    with pytest.raises(InputError, match="n_planes is 4"):
        update_of_each_rank(np.ones((5, 6)), 4, 1.0)
    with pytest.raises(InputError, match="at most 400"):
        softmax_fisher(np.ones((2, 300)), 2)
