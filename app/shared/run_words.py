"""How runs are put in words: states, metrics, durations, short names. Pure, no Streamlit."""

from collections.abc import Sequence

from gelora.runs import RunInfo

STATUS_ICONS = {"queued": "◌", "running": "▶", "finished": "✓", "failed": "✗", "stopped": "■"}
TASK_WORDS = {
    "classification": "Classification",
    "regression": "Regression",
    "question-answering": "Question answering",
    "causal-lm": "Language modelling",
    "instruction": "Instruction tuning",
}
_METRICS = {
    "eval_accuracy": "accuracy",
    "eval_matthews": "Matthews correlation",
    "eval_pearson": "Pearson r",
    "eval_spearman": "Spearman rho",
    "eval_f1": "F1",
    "eval_exact": "exact match",
    "eval_mse": "MSE",
    "eval_perplexity": "perplexity",
    "eval_token_accuracy": "token accuracy",
    "eval_loss": "held-out loss",
    "loss": "loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "examples_per_second": "examples per second",
    "tokens_per_second": "tokens per second",
    "gpu_memory_bytes": "GPU memory (bytes)",
    "gpu_utilisation": "GPU utilisation",
    "difference": "difference to the reference",
    "ci_low": "difference, lower end",
    "ci_high": "difference, upper end",
}


def metric_word(name: str) -> str:
    """A metric's name as a person reads it."""
    if name.startswith("id/layer_"):
        number = int(name.rpartition("_")[2])
        return "dimension of the embeddings" if number == 0 else f"dimension after block {number}"
    if name.count("/") == 2:  # of an arm of a race
        of_arm, arm, seed = name.split("/")
        return f"{metric_word(of_arm)} of {arm}, seed {seed}"
    return _METRICS.get(name, name.removeprefix("eval_").replace("_", " "))


def duration(seconds: float) -> str:
    """A time in the unit that fits: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def size(n_bytes: float) -> str:
    """Bytes in the unit that fits: B, KB, MB or GB."""
    if n_bytes < 999.5:
        return f"{n_bytes:.0f} B"
    if n_bytes < 999_500:
        return f"{n_bytes / 1e3:.0f} KB"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def main_metric(run: RunInfo) -> str:
    """The metric a run is judged by; the held-out loss while it has not said."""
    return run.state.main_metric or "eval_loss"


def waits_for(run: RunInfo, runs: list[RunInfo]) -> int:
    """How many runs go before a queued one: those under way, and those with an earlier place."""
    place = run.state.queue_place or 10**9
    ahead = [other for other in runs if other.state.status == "queued" and (other.state.queue_place or 10**9) < place]
    return len(ahead) + sum(other.state.status == "running" for other in runs)


def count(n: int, what: str) -> str:
    """A number with its word: 1 run, 3 runs."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def listed(words: Sequence[str]) -> str:
    """Words as one phrase: a; a and b; a, b and c."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def short_path(name: str) -> str:
    """The end of a path that says what it is: rte/train.jsonl, a model's folder; anything else as it is."""
    parts = name.split("/")
    return name if not name.startswith("/") else "/".join(parts[-2:] if "." in parts[-1] else parts[-1:])
