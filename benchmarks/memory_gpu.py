"""Memory of a LoRA training step against the estimate, on a GPU: `python -m benchmarks.memory_gpu [--json FILE]`.

Models of well-known shapes with random weights, built on the device from a config. Each takes two warming steps of
forward, backward and AdamW on a padded batch, then the peak of a third is read: `torch.cuda.max_memory_allocated`.
`--device cpu` runs tiny shapes to try the script out; a CPU has no such counter, so there the tensors that autograd
keeps are summed and compared with the activations of the estimate.
"""

import argparse
import gc
from dataclasses import dataclass
from typing import Any

from benchmarks import record
from benchmarks.published_shapes import SHAPES
from gelora.ranks import apply_plan, memory_estimate, modules_to_save, uniform_ranks
from gelora.sources import base_model_of, structure_of

_LLAMA_1B: dict[str, Any] = {
    **{"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64},
    **{"intermediate_size": 8192, "vocab_size": 128256, "tie_word_embeddings": True, "max_position_embeddings": 8192},
}
_MINILM: dict[str, Any] = {
    **{"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536, "vocab_size": 30522},
}
_QWEN_05B: dict[str, Any] = {
    **{"hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "intermediate_size": 4864},
    **{"vocab_size": 151936, "tie_word_embeddings": True},
}
_SMALL_MIXTURE: dict[str, Any] = {
    **{"hidden_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 2048},
    **{"vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": False},
}
_OTHER_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "MiniLM-L6": ("bert", _MINILM),
    "Llama-1B": ("llama", _LLAMA_1B),
    "Qwen2-0.5B": ("qwen2", _QWEN_05B),
    "small mixture of experts": ("mixtral", _SMALL_MIXTURE),
}


@dataclass(frozen=True)
class Case:
    """One training step; `r` is the uniform rank of the adapters."""

    shape: str
    task: str
    dtype: str
    batch_size: int
    length: int
    target_modules: str = "attention"
    r: int = 8
    checkpointing: bool = False

    def __str__(self) -> str:
        words = [self.shape, self.task, self.dtype, f"{self.batch_size} x {self.length} tokens", self.target_modules]
        return ", ".join([*words, "checkpointing"] if self.checkpointing else words)


CASES = (
    Case("MiniLM-L6", "classification", "float32", 32, 128),
    Case("MiniLM-L6", "classification", "bfloat16", 64, 256, "all-linear"),
    Case("bert-base-uncased", "classification", "float32", 32, 128),
    Case("bert-base-uncased", "classification", "float32", 16, 512, "all-linear"),
    Case("bert-base-uncased", "classification", "bfloat16", 32, 256),
    Case("ModernBERT-base", "classification", "bfloat16", 16, 512),
    Case("deberta-v3-base", "classification", "float32", 16, 256),
    Case("gpt2", "causal-lm", "float32", 8, 512),
    Case("Qwen2-0.5B", "causal-lm", "bfloat16", 4, 512, "all-linear"),
    Case("Llama-1B", "causal-lm", "bfloat16", 4, 512),
    Case("Llama-1B", "causal-lm", "bfloat16", 4, 1024, "all-linear"),
    Case("Llama-1B", "causal-lm", "bfloat16", 8, 1024, "all-linear", checkpointing=True),
    Case("Llama-1B", "classification", "bfloat16", 16, 512),
    Case("gemma-2-2b", "causal-lm", "bfloat16", 2, 512),
    Case("small mixture of experts", "causal-lm", "bfloat16", 4, 512, "attention,experts"),
)

_TINY: dict[str, Any] = {"vocab_size": 500, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_TINY_CASES = (("bert", "classification"), ("llama", "causal-lm"), ("mixtral", "causal-lm"))


def main() -> None:
    """Run every case and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--only", metavar="WORD", help="cases whose name has this word")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.device == "cpu":
        rows = [tiny_row(model_type, task) for model_type, task in _TINY_CASES]
    else:
        rows = [cuda_row(case) for case in CASES if not options.only or options.only in str(case)]
    record.write("memory_gpu", rows, options.json)


def cuda_row(case: Case) -> dict[str, Any]:
    """The peak of a step, and the estimate of it."""
    import torch

    model_type, shape = (SHAPES | _OTHER_SHAPES)[case.shape]
    row: dict[str, Any] = {"case": str(case)}
    model = None
    try:
        model, estimate = build(model_type, shape, case, "cuda")
        batch = padded_batch(case, "cuda")
        optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-4)
        before = torch.cuda.memory_allocated()
        peak = 0
        for _ in range(3):
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            model(**batch).loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            torch.cuda.synchronize()
            peak = torch.cuda.max_memory_allocated()
        row |= {"ours": estimate.total_bytes, "peer": peak, "peer_name": "torch.cuda.max_memory_allocated", "unit": "bytes"}
        row |= {"ratio": round(estimate.total_bytes / peak, 3), "reserved_bytes": torch.cuda.max_memory_reserved()}
        row |= {"weights_ours": estimate.weights_bytes, "weights_measured": before, "activations_ours": estimate.activation_bytes}
        states = estimate.optimizer_bytes + estimate.gradient_bytes
        row |= {"activations_measured": peak - before - states, "logits_ours": estimate.logits_bytes}
    except torch.OutOfMemoryError as error:
        row["problem"] = f"does not fit this GPU: {str(error).splitlines()[0]}"
    del model
    gc.collect()
    torch.cuda.empty_cache()
    return row


def tiny_row(model_type: str, task: str) -> dict[str, Any]:
    """The tensors that autograd keeps on a CPU, against the activations of the estimate."""
    import torch

    case = Case(model_type, task, "float32", 4, 64)
    mixture = {"num_local_experts": 4, "num_experts_per_tok": 2, "num_key_value_heads": 2} if model_type == "mixtral" else {}
    model, estimate = build(model_type, _TINY | mixture | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}, case, "cpu")
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def pack(tensor: Any) -> Any:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor.untyped_storage())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(**padded_batch(case, "cpu")).loss
    loss.backward()
    measured = sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in own)
    ours = estimate.activation_bytes
    return {
        "case": f"tiny {case}",
        "ours": ours,
        "peer": measured,
        "peer_name": "saved tensors",
        "ratio": round(ours / measured, 3),
        "unit": "bytes",
    }


def build(model_type: str, shape: dict[str, Any], case: Case, device: str) -> tuple[Any, Any]:
    """A model with random weights and its adapters, ready to train, and the estimate of its step."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    is_lm = case.task == "causal-lm"
    config = AutoConfig.for_model(model_type, **shape)
    config.pad_token_id, config.use_cache = 0, False
    auto_class: Any = AutoModelForCausalLM if is_lm else AutoModelForSequenceClassification
    with torch.device(device):
        model = auto_class.from_config(config, dtype=getattr(torch, case.dtype))
    structure = structure_of(model, case.shape, "random weights")
    plan = uniform_ranks(structure, case.r, case.target_modules)
    if is_lm:
        saved: list[str] = []
    else:
        inside = {id(parameter) for parameter in base_model_of(model).parameters()}
        saved = modules_to_save(model, [name for name, parameter in model.named_parameters() if id(parameter) not in inside])
    model = apply_plan(model, plan, task_type=None if is_lm else "SEQ_CLS", modules_to_save=saved)
    if case.checkpointing:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    n_trainable = model.get_nb_trainable_parameters()[0]
    estimate = memory_estimate(
        plan,
        structure,
        batch_size=case.batch_size,
        length=case.length,
        dtype=case.dtype,
        n_head_params=n_trainable - plan.n_adapter_params,
        task=case.task,
        gradient_checkpointing=case.checkpointing,
    )
    return model.train(), estimate


def padded_batch(case: Case, device: str) -> dict[str, Any]:
    """Random tokens; one text of the batch is shorter, as in every batch of real texts."""
    import torch

    tokens = torch.randint(5, 400, (case.batch_size, case.length), device=device)
    mask = torch.ones_like(tokens)
    mask[0, case.length // 2 :] = 0
    labels = tokens if case.task == "causal-lm" else torch.zeros(case.batch_size, dtype=torch.long, device=device)
    return {"input_ids": tokens, "attention_mask": mask, "labels": labels}


if __name__ == "__main__":
    main()
