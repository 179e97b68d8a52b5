"""Arms side by side against one after another by our own loop: `python -m benchmarks.race [--arms 8] [--steps 40] [--json FILE]`.

Correctness first, in float32 on the processor: after 20 steps two arms of other ranks and rates end within 1e-5 of their lone
runs (under `--shape` on two blocks of it). Then throughput, both as a person would run them (bfloat16 and recorded steps on a
GPU): arm-steps a second of the race, after its first quarter, against steps a second of the
loop alone, after its first quarter. `--shape` takes a model of a known shape with random weights, on made-up sentences: `smollm2`
a Llama as SmolLM2-135M, for language modelling; `minilm` a BERT as all-MiniLM-L6-v2, for classification.
"""

import argparse
import dataclasses
import json
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from gelora.ranks import uniform_ranks
from gelora.records import DataChoice, RunSpec, TrainingConfig, resolve_device
from gelora.runs.racing.side_by_side import beginning, mean_losses, train_side_by_side
from gelora.runs.racing.stacked import StackedLora, arm_weights
from gelora.runs.training.graphs import StepGraphs
from gelora.runs.training.loop import runs_in_bfloat16, total_steps, train
from gelora.runs.training.methods import apply_method
from gelora.runs.training.precision import hold_frozen_in_bfloat16
from gelora.sources import model_structure
from gelora.tasks import build_task

_RANKS, _RATES, _TOLERANCE = (1, 2, 4, 8), (5e-4, 1e-3), 1e-5
_SAFE_RATE = 1e-5  # random weights in bfloat16 diverge at the usual ones
_SHAPES: dict[str, dict[str, Any]] = {
    "smollm2": {
        "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": True, "max_position_embeddings": 2048,
    },
    "minilm": {
        "model_type": "bert", "vocab_size": 30522, "hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6,
        "num_attention_heads": 12, "max_position_embeddings": 512,
    },
}  # fmt: skip
_WORDS = [
    "return",
    "the",
    "mean",
    "of",
    "values",
    "along",
    "given",
    "axis",
    "ignoring",
    "those",
    "which",
    "are",
    "missing",
    "compute",
    "distance",
    "between",
    "each",
    "pair",
]


class Clock:
    """A report that keeps when each step ended."""

    def __init__(self, device: str) -> None:
        self._device, self._moments = device, [time.perf_counter()]

    def tick(self, *_: Any) -> None:
        if self._device == "cuda":
            torch.cuda.synchronize()
        self._moments.append(time.perf_counter())

    def rate(self) -> float:
        """Steps a second after the first quarter."""
        late = self._moments[len(self._moments) // 4 :]
        return (len(late) - 1) / (late[-1] - late[0])

    def progress(self, *_: Any) -> None:
        self.tick()

    def values(self, *_: Any) -> None:
        return

    examples = say = values

    def keep(self) -> None:
        return


def main() -> None:
    """Check, then time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default="8", help="comma-separated numbers of arms (default 8)")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--shape", choices=tuple(_SHAPES))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gelora-race-") as folder:
        os.environ["GELORA_HOME"] = folder
        record.write("race", measure(Path(folder), options), options.json)


def measure(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row a number of arms, the check first."""
    model = _made(options.shape, folder / "model") if options.shape else options.model
    checked = _made(options.shape, folder / "checked", num_hidden_layers=2, vocab_size=4096) if options.shape else model
    is_decoder = options.shape == "smollm2"
    n_texts = options.steps * options.batch_size * (6 if is_decoder else 1)  # six of them make a block of 64 tokens
    rng, rows = random.Random(0), folder / "rows.jsonl"
    texts = (" ".join(rng.choice(_WORDS) for _ in range(rng.randint(6, 14))) + f" {i}" for i in range(n_texts + 100))
    rows.write_text("".join(json.dumps({"text": text, "label": i % 2}) + "\n" for i, text in enumerate(texts)))
    kind = "causal-lm" if is_decoder else "classification"
    config = TrainingConfig(
        task=kind, n_train=n_texts, n_eval=32, epochs=1.0, batch_size=options.batch_size, max_length=64,
        device=options.device, learning_rate=_SAFE_RATE, probe_size=0, log_every=1000, eval_every=100_000,
    )  # fmt: skip
    spec = RunSpec(model, DataChoice(str(rows), label_column="" if is_decoder else None), uniform_ranks(model_structure(model), 2), config)
    of_check = dataclasses.replace(spec, model=checked, plan=uniform_ranks(model_structure(checked), 2))
    found = [check(of_check, folder)]
    print(found[0], flush=True)
    alone, device = _alone(spec, folder), resolve_device(spec.training.device)
    for n_arms in map(int, options.arms.split(",")):
        together = _together(spec, n_arms)
        found.append(
            {
                "case": f"{n_arms} arms, {options.shape or model}, {kind}, {device}",
                "ours": round(together * n_arms, 2), "peer": round(alone, 2), "peer_name": "our own loop, one arm after another",
                "ratio": round(together * n_arms / alone, 2), "unit": "arm-steps/s",
                "floor": _bare(spec, n_arms) if device == "cuda" else None,
                "floor_name": "the frozen model alone on as many rows: forward pass and backward to its embeddings, replayed",
                "peak_memory_bytes": torch.cuda.max_memory_allocated() if device == "cuda" else None,
            }
        )  # fmt: skip
    return found


def check(spec: RunSpec, folder: Path) -> dict[str, Any]:
    """The greatest difference of weights between two arms and their lone runs; ends the benchmark where it is too large."""
    size = 8
    config = dataclasses.replace(spec.training, device="cpu", precision="float32", n_train=20 * size, batch_size=size)
    plans = [uniform_ranks(model_structure(spec.model), rank) for rank in (1, 4)]
    lone, weights = [], []
    for plan, rate in zip(plans, _RATES, strict=True):
        one = dataclasses.replace(spec, plan=plan, training=dataclasses.replace(config, learning_rate=rate))
        task = build_task(one)
        for module in task.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            elif hasattr(module, "dropout_prob"):
                setattr(module, "dropout_prob", 0.0)  # noqa: B010  (a number, for which nn.Module has no type)
        steps = total_steps(config, len(task.train))
        weights.append(beginning(task, one, plan, steps))
        learner = apply_method(task, one, plan, steps)
        train(task, learner, one.training, one.seed, folder / f"check-{rate}", Clock("cpu"), lambda: False)
        lone.append(arm_weights(learner.model, []))
    task = build_task(one)
    train_side_by_side(task, weights, _RATES, one, steps, lambda *_: None)
    worst = 0.0
    for name, layer in task.model.named_modules():
        if isinstance(layer, StackedLora):
            for i, arm in enumerate(lone):
                a, b, _ = arm.factors[name]
                of_a, of_b = layer.a[i, :, : len(a)].detach().T - a, layer.b[i, : len(a)].detach().T - b
                worst = max(worst, float(of_a.abs().max()), float(of_b.abs().max()))
    if worst > _TOLERANCE:
        raise SystemExit(f"an arm ends {worst:.1e} from its lone run after {steps} steps")
    return {
        "case": f"two arms against their lone runs, {steps} steps, float32",
        "ours": worst,
        "peer": 0.0,
        "floor": _TOLERANCE,
        "unit": "weight",
    }


def _alone(spec: RunSpec, folder: Path) -> float:
    task = build_task(spec)
    learner = apply_method(task, spec, spec.plan, total_steps(spec.training, len(task.train)))
    clock = Clock(resolve_device(spec.training.device))
    train(task, learner, spec.training, spec.seed, folder / "alone", clock, lambda: False)
    return clock.rate()


def _together(spec: RunSpec, n_arms: int) -> float:
    task, device = build_task(spec), resolve_device(spec.training.device)
    plans = [uniform_ranks(model_structure(spec.model), rank) for rank in _RANKS]
    n_steps = total_steps(spec.training, len(task.train))
    weights = [beginning(task, spec, plan, n_steps) for plan in plans[: min(len(plans), n_arms)]]
    task.model.to(device)
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    clock = Clock(device)
    arms = [weights[i % len(weights)] for i in range(n_arms)]
    train_side_by_side(task, arms, [_SAFE_RATE] * n_arms, spec, n_steps, clock.tick, runs_in_bfloat16(spec.training, device))
    return clock.rate()


def _bare(spec: RunSpec, n_arms: int) -> float:
    """Arm-steps a second if adapters, their optimizer and the data cost nothing."""
    task = build_task(spec)
    model = task.model.to("cuda").eval().requires_grad_(False)
    hold_frozen_in_bfloat16(model)
    size = n_arms * spec.training.batch_size
    batch = {name: tensor.to("cuda") for name, tensor in task.collate([task.train[i % len(task.train)] for i in range(size)]).items()}
    embedded = torch.nn.Parameter(model.get_input_embeddings()(batch["input_ids"]))

    def loss_of(batch: dict[str, torch.Tensor], _n_items: Any = None) -> torch.Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            logits = model(inputs_embeds=embedded).logits
        loss: torch.Tensor = mean_losses(task.kind, logits, batch["labels"], 1).sum()
        return loss

    def as_usual() -> torch.Tensor:
        loss = loss_of(batch)
        loss.backward()
        return loss.detach()

    graphs, clock = StepGraphs(lambda: [embedded], loss_of, print), Clock("cuda")
    for _ in range(40):
        graphs.step(batch, None, as_usual)
        embedded.grad = None
        clock.tick()
    return round(clock.rate() * n_arms, 2)


def _made(shape: str, folder: Path, **smaller: int) -> str:
    """A model of a known shape, or with fewer blocks, its weights drawn at random, with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

    words = ["<unk>", "<s>", "</s>", "<pad>", *_WORDS, *map(str, range(4000))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    config = AutoConfig.for_model(**_SHAPES[shape] | smaller, bos_token_id=1, eos_token_id=2, pad_token_id=3)
    (AutoModelForCausalLM if config.model_type == "llama" else AutoModel).from_config(config).save_pretrained(folder)
    special = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return str(folder)


if __name__ == "__main__":
    main()
