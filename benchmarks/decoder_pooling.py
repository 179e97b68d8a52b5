"""Which pooling a decoder should be measured with: `python -m benchmarks.decoder_pooling --model M --data docstrings --json FILE`.

Mean of the tokens without sinks, mean of all, and the last token, on the same texts. What speaks for a pooling, layer by
layer: estimators that look at the same neighbors agree ("spread": largest over smallest of TwoNN, MLE and GRIDE, less 1),
the interval is narrow ("half_width": TwoNN's, over its dimension), the cloud does not encode the length of the text
("length": correlation of a text's length, in characters, with that predicted by its 10 nearest neighbors), and it keeps
what the text says ("label": accuracy of the majority label among the 10 nearest neighbors, on data with two labels).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from gelora import estimate_profile, extract_hidden_states, load_sample
from gelora.errors import DataError
from gelora.geometry.neighbors import neighbor_graph
from gelora.records import IdEstimate, Sample

POOLINGS = {"mean_drop": ("mean", "drop"), "mean_keep": ("mean", "keep"), "last": ("last", "keep"), "last_drop": ("last", "drop")}
COMPARED = ("twonn", "mle", "gride")
N_NEIGHBORS = 10


def main() -> None:
    """Measure and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["stories260K"], help="bundled name, folder or hub id")
    parser.add_argument("--data", nargs="+", default=["docstrings"], help="bundled name, file or hub id")
    parser.add_argument("--n-samples", type=int, default=2000)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for model in options.model:
        for data in options.data:
            layers = layer_rows(f"{Path(model).name}, {Path(data).stem}", model, data, options)
            rows += [median_row(layers), *layers]
    record.write("decoder_pooling", rows, options.json)


def layer_rows(case: str, model: str, data: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each layer of a model on a dataset."""
    sample = load_sample(data, n_samples=options.n_samples, seed=0)
    rows: list[dict[str, Any]] = []
    for name, (pooling, sinks) in POOLINGS.items():
        states = extract_hidden_states(model, sample, pooling=pooling, sinks=sinks, device=options.device, cache=False)
        profile = estimate_profile(states, COMPARED, device=options.device)
        rows = rows or [{"case": f"{case}, {layer}"} for layer in profile.layer_names]
        texts = states.row_texts()
        for layer, row in enumerate(rows):
            dimensions = [d for e in COMPARED if (d := profile.estimates[e][layer].dimension)]
            twonn = profile.estimates["twonn"][layer]
            row |= {
                f"twonn_{name}": _rounded(twonn.dimension),
                f"spread_{name}": _rounded(max(dimensions) / min(dimensions) - 1) if len(dimensions) > 1 else None,
                f"half_width_{name}": _rounded(_half_width(twonn)),
            }
            row |= {
                f"{key}_{name}": value for key, value in read_from_neighbors(states.values[layer], texts, sample, options.device).items()
            }
    return rows


def read_from_neighbors(rows: np.ndarray, texts: np.ndarray, sample: Sample, device: str) -> dict[str, float | None]:
    """How well the 10 nearest rows tell a row's text length (correlation, -1 to 1) and label (accuracy); None where undefined."""
    try:
        graph = neighbor_graph(rows, N_NEIGHBORS, device=device)
    except DataError:  # too few distinct rows: the last token's embedding
        return {"length": None, "label": None}
    own = texts[graph.rows]
    lengths = np.array([len(text) for text in sample.texts], dtype=np.float64)[own]
    answers: dict[str, float | None] = {"length": _rounded(np.corrcoef(lengths, lengths[graph.indices].mean(1))[0, 1]), "label": None}
    if sample.task == "classification" and sample.label_names and len(sample.label_names) == 2:
        labels = np.asarray(sample.labels)[own]
        votes = labels[graph.indices].mean(1)
        answers["label"] = _rounded(np.mean(np.where(votes == 0.5, 0.5, (votes > 0.5) == labels)))
    return answers


def median_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The median over layers of every column."""
    columns = [key for key in rows[0] if key != "case"]
    medians = {key: [row[key] for row in rows if row.get(key) is not None] for key in columns}
    return {"case": rows[0]["case"].rsplit(", ", 1)[0] + ", median"} | {k: _rounded(np.median(v)) for k, v in medians.items() if v}


def _half_width(estimate: IdEstimate) -> float | None:
    """Half the interval over the dimension."""
    if estimate.dimension is None or estimate.ci_low is None or estimate.ci_high is None:
        return None
    return (estimate.ci_high - estimate.ci_low) / 2 / estimate.dimension


def _rounded(value: Any) -> float | None:
    return None if value is None else round(float(value), 3)


if __name__ == "__main__":
    main()
