"""Frozen weights held in bfloat16 give the very numbers that autocast gives."""

import pytest
import torch
from tiny_models import save_tiny_model

from gelora.ranks import apply_plan, uniform_ranks
from gelora.runs.training.precision import hold_frozen_in_bfloat16, may_be_held
from gelora.sources import find_model, load_causal_lm, load_classifier, load_tokenizer, model_structure


def model_of(kind, folder, causal, lora_dropout=0.0):
    torch.manual_seed(0)
    entry = find_model(str(save_tiny_model(kind, folder)))
    headed = load_causal_lm(entry, 0) if causal else load_classifier(entry, load_tokenizer(entry), ("a", "b"), 0)
    plan = uniform_ranks(model_structure(str(folder)), 2, "all-linear")
    model = apply_plan(headed.model, plan, task_type="CAUSAL_LM" if causal else "SEQ_CLS", lora_dropout=lora_dropout)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.mark.parametrize("lora_dropout", [0.0, 0.3])
@pytest.mark.parametrize(("kind", "causal"), [("bert", False), ("llama", True), ("gpt2", True)])
def test_outputs_and_gradients_are_those_of_autocast(kind, causal, lora_dropout, tmp_path):
    model = model_of(kind, tmp_path / "m", causal, lora_dropout).train(lora_dropout > 0)
    inputs = {"input_ids": torch.arange(5, 29).reshape(2, 12), "attention_mask": torch.ones(2, 12, dtype=torch.long)}
    inputs["labels"] = inputs["input_ids"] if causal else torch.tensor([0, 1])

    def step():
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            answer = model(**inputs)
        answer.loss.backward()
        return answer.logits.detach().clone(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    logits, gradients = step()
    assert hold_frozen_in_bfloat16(model) > 0
    again, same = step()
    assert torch.equal(logits, again)
    assert len(gradients) == len(same)
    assert all(torch.equal(a, b) for a, b in zip(gradients, same, strict=True))


def test_what_is_trained_shared_or_no_linear_map_stays_in_float32(tmp_path):
    model = model_of("gpt2", tmp_path / "m", causal=True)
    hold_frozen_in_bfloat16(model)
    kinds = {name: p.dtype for name, p in model.named_parameters()}
    assert all(dtype == torch.float32 for name, dtype in kinds.items() if "lora_" in name or "wte" in name or "ln_" in name)
    assert model.get_output_embeddings().weight.dtype == torch.float32  # shares the embeddings
    assert any(dtype == torch.bfloat16 for dtype in kinds.values())


def test_methods_that_read_or_save_the_frozen_weights_are_left_alone():
    assert may_be_held("lora", False, "default")
    assert may_be_held("head", False, "default")
    assert not may_be_held("lora", True, "default")
    assert not may_be_held("lora", False, "pissa")
    assert not may_be_held("full", False, "default")
    assert not may_be_held("bitfit", False, "default")
