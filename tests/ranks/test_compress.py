"""A compressed adapter against dense truncated weights in plain PEFT, its figures against dense products."""

import json

import numpy as np
import pytest
import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from tiny_models import tiny_model

from gelora.errors import InputError
from gelora.ranks import adapter_spectra, compress_adapter
from gelora.ranks.peft.compress import kept_ranks

IDS = torch.arange(12).reshape(2, 6) + 10


def trained(architecture: str, folder, **options):
    """A tiny model with an adapter whose weights are all random, saved; returns the model without it and the adapted one."""
    targets = {"bert": ["query", "value", "output.dense"], "gpt2": ["c_attn", "c_fc"], "llama": ["q_proj", "down_proj", "embed_tokens"]}
    torch.manual_seed(0)
    config = LoraConfig(**{"r": 6, "lora_alpha": 9, "target_modules": targets[architecture], "init_lora_weights": False} | options)
    model = get_peft_model(tiny_model(architecture), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name and parameter.ndim == 2:  # singular values that fall, differently in each module
                parameter *= torch.linspace(1, 0.2, parameter.shape[0] if "_A" in name else parameter.shape[1]).reshape(
                    (-1, 1) if "_A" in name else (1, -1)
                )
    model.save_pretrained(folder, save_embedding_layers=False)
    return model.eval()


def updates(model) -> dict[str, torch.Tensor]:
    layers = {name.removeprefix("base_model.model."): m for name, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    return {name: layer.get_delta_weight("default").detach().double() for name, layer in layers.items()}


def states(model) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).last_hidden_state


def truncated(update: torch.Tensor, r: int) -> torch.Tensor:
    u, s, vt = torch.linalg.svd(update, full_matrices=False)
    return (u[:, :r] * s[:r]) @ vt[:r]


@pytest.mark.parametrize(
    "architecture, options, how",
    [
        ("bert", {}, {"energy": 0.8}),
        ("bert", {"use_rslora": True, "rank_pattern": {r"layer\.1\..*query": 3}, "alpha_pattern": {"value": 4}}, {"budget": "uniform:2"}),
        ("gpt2", {"fan_in_fan_out": True, "bias": "lora_only"}, {"budget": "uniform:1"}),
        ("llama", {}, {"energy": 0.6}),
        ("llama", {"lora_bias": True, "target_modules": ["q_proj", "up_proj"]}, {"energy": 0.3}),
    ],
)
def test_plain_peft_gives_the_outputs_of_the_dense_truncated_weights(tmp_path, architecture, options, how):
    model = trained(architecture, tmp_path / "adapter", **options)
    found = compress_adapter(tmp_path / "adapter", tmp_path / "out", **how)
    kept, dense = {m.module: m.kept for m in found.modules}, updates(model)
    small = PeftModel.from_pretrained(tiny_model(architecture), tmp_path / "out").eval()
    written = updates(small)
    assert set(written) == {name for name, r in kept.items() if r} and any(r < 6 for r in kept.values())
    for module in found.modules:
        wanted = truncated(dense[module.module], module.kept)
        torch.testing.assert_close(written.get(module.module, torch.zeros_like(wanted)), wanted, atol=1e-6, rtol=1e-5)
        assert module.dropped == pytest.approx(float((dense[module.module] - wanted).norm()), rel=1e-5, abs=1e-6)
        assert module.norm == pytest.approx(float(dense[module.module].norm()), rel=1e-5)
    assert found.dropped == pytest.approx(float(torch.cat([(dense[n] - truncated(dense[n], r)).flatten() for n, r in kept.items()]).norm()))
    counted = sum(p.numel() for name, p in small.named_parameters() if ".lora_" in name and "bias" not in name)
    assert found.n_params == counted < found.n_params_before
    # the model itself, with the dense truncated updates in place of the adapter's
    layers = {name.removeprefix("base_model.model."): m for name, m in model.named_modules() if hasattr(m, "get_delta_weight")}
    with torch.no_grad():
        for name, layer in layers.items():
            layer.get_base_layer().weight += truncated(dense[name], kept[name]).to(torch.float32)
            for parameter in (layer.lora_B, layer.lora_embedding_B):
                for weights in parameter.values() if hasattr(parameter, "values") else ():
                    (weights.weight if hasattr(weights, "weight") else weights).zero_()
    torch.testing.assert_close(states(small), states(model), atol=1e-5, rtol=1e-5)


def test_an_adalora_adapter_in_a_bin_file_becomes_plain_lora(tmp_path):
    torch.manual_seed(0)
    model = get_peft_model(tiny_model("bert"), AdaLoraConfig(init_r=4, total_step=20, lora_alpha=8, target_modules=["query"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_()
    model.save_pretrained(tmp_path / "adapter", safe_serialization=False)
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors") if (tmp_path / "adapter/adapter_model.safetensors").exists() else None
    if saved is not None:  # a PEFT that writes no pickles any more
        torch.save(saved, tmp_path / "adapter/adapter_model.bin")
        (tmp_path / "adapter/adapter_model.safetensors").unlink()
    found = compress_adapter(tmp_path / "adapter", tmp_path / "out", energy=1.0)
    assert found.dropped == pytest.approx(0, abs=1e-9)
    small = PeftModel.from_pretrained(tiny_model("bert"), tmp_path / "out").eval()
    torch.testing.assert_close(states(small), states(model.eval()), atol=1e-5, rtol=1e-5)
    assert small.peft_config["default"].peft_type == "LORA"


def test_one_threshold_is_the_best_choice_of_units():
    values = [np.array([5.0, 2.0, 0.1]), np.array([4.0, 3.0, 2.5])]
    assert kept_ranks(values, [10, 10], energy=0.8) == [1, 2]  # 25 + 16 + 9 of 60.26 hold 0.83, without the 9 only 0.68
    assert kept_ranks(values, [10, 30], n_params=50) == [2, 1]  # squares per parameter: 2.5, 0.53 (16/30), 0.4, 0.3
    assert kept_ranks(values, [10, 30], n_params=60) == [3, 1]  # the next, 9/30, does not fit: a cheaper one does
    assert kept_ranks(values, [10, 10], energy=0.1, least=1) == [1, 1]
    with pytest.raises(InputError, match="untrained"):
        kept_ranks([np.zeros(3)], [10], energy=0.5)
    with pytest.raises(InputError, match="keeps nothing of this adapter; one unit of rank costs 10"):
        kept_ranks(values, [10, 30], n_params=9)
    with pytest.raises(InputError, match="energy"):
        kept_ranks(values, [10, 10], energy=1.5)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"use_dora": True}, "is DoRA, whose change of a weight"),
        ({"init_lora_weights": "pissa"}, "changed base weights"),
    ],
)
def test_what_is_not_b_a_alone_is_refused_and_said_by_inspection(tmp_path, options, says):
    from gelora.ranks import read_factors

    trained("bert", tmp_path / "adapter", **options)
    with pytest.raises(InputError, match=says):
        compress_adapter(tmp_path / "adapter", tmp_path / "out", energy=0.9)
    assert not (tmp_path / "out").exists() and len(read_factors(tmp_path / "adapter").notes) >= 1
    assert len(adapter_spectra(tmp_path / "adapter")) == 12


def test_bad_arguments_and_folders_are_one_sentence(tmp_path):
    trained("bert", tmp_path / "adapter")
    with pytest.raises(InputError, match="either the energy to keep"):
        compress_adapter(tmp_path / "adapter", tmp_path / "out")
    with pytest.raises(InputError, match="there already and not empty"):
        compress_adapter(tmp_path / "adapter", tmp_path / "adapter", energy=0.9)
    with pytest.raises(InputError, match="budget 'lots' is none"):
        compress_adapter(tmp_path / "adapter", tmp_path / "out", budget="lots")
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    (tmp_path / "adapter/adapter_config.json").write_text(
        json.dumps(config | {"target_parameters": ["layer.0.attention.self.query.gate_up"]})
    )
    with pytest.raises(InputError, match="is of experts"):
        compress_adapter(tmp_path / "adapter", tmp_path / "out", energy=0.9)
