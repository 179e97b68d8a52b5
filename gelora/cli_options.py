"""Options that several commands of the command line share, by what they are about."""

import argparse

from gelora.records import POINTS, POOLINGS, ROUNDINGS, SEPARATOR_WORDS, SINK_RATIO, SINKS

HELD_OUT = "held-out rows: a file with the same columns, or a split of the same dataset"
AGAIN = "measure also what was measured before with the same choices, here or in the dashboard"


def add_ranks(parser: argparse.ArgumentParser) -> None:
    """What ranks are made from, and how many they may be."""
    add_model_and_data(parser, default_model=None, default_dataset=None)
    add_sample(parser)
    add_points(parser)
    parser.add_argument("--offset", type=int, default=1, help="added to every block's rise; with uniform: the rank (default 1)")
    parser.add_argument("--match", metavar="BUDGET", help="uniform:R, params:N or mb:X; takes the place of the offset")
    parser.add_argument("--rounding", choices=ROUNDINGS, default="ceil")
    parser.add_argument("--floor", type=int, default=1, help="least rank, for all strategies but gelora and uniform (default 1)")
    parser.add_argument("--cap", type=int, help="highest rank, for the same (default: as high as the budget goes)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the rises (default 1, the paper's rule)")
    parser.add_argument("--estimator", default="twonn")
    parser.add_argument(
        "--target-modules",
        default="attention",
        help="attention, attention-qv, mlp, all-linear, experts, names; several with commas, compared with /",
    )
    parser.add_argument(
        "--adapter",
        metavar="PATH",
        help="of look-back: a trained adapter, its folder or a run's id; of plan without a strategy: take an adapter's ranks as they are",
    )
    parser.add_argument("--random-seed", type=int, default=0, help="of the strategy random (default 0)")
    parser.add_argument("--again", action="store_true", help=AGAIN)


def add_points(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--points", choices=POINTS, default="blocks", help="halves: look between attention and MLP too, a rise and a rank for each half"
    )


def add_held_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--held-out", metavar="FILE", help=HELD_OUT)
    parser.add_argument("--held-out-rows", type=int, default=500, help="default 500")
    parser.add_argument("--task", default="auto", help="auto, classification, regression, causal-lm or instruction")


def add_race(parser: argparse.ArgumentParser) -> None:
    """What races, and for how long."""
    parser.add_argument("--profile", metavar="FILE", help="for the rule's ranks, as in plan")
    parser.add_argument("--strategies", default="gelora,uniform,random", help="comma-separated, or all (default gelora,uniform,random)")
    add_ranks(parser)
    parser.add_argument("--reference", default="uniform", help="the strategy that the others are held against (default uniform)")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps (default 100)")
    parser.add_argument("--batch-size", type=int, default=16, help="rows a step (default 16)")
    parser.add_argument("--learning-rates", default="5e-4", help="comma-separated; every strategy runs at each (default 5e-4)")
    parser.add_argument("--inits", default="default", help="comma-separated: default, gaussian, orthogonal, olora, pissa; all at each")
    parser.add_argument("--seeds", default="0", help="comma-separated: of rows, order, head and adapters; a race each (default 0)")
    add_held_out(parser)
    parser.add_argument("--eval-every", type=int, default=0, help="steps between evaluations with a checkpoint (default: four in all)")


def add_start(parser: argparse.ArgumentParser, json_out: str | None = None) -> None:
    parser.add_argument("--runs-at-once", type=int, default=1, help="how many runs its device may have, this one included (default 1)")
    parser.add_argument(
        "--report-to", default="", metavar="A,B", help="trackers told what the run logs: mlflow, tensorboard, trackio, wandb, ..."
    )
    parser.add_argument("--detach", action="store_true", help="return at once; the run goes on without this shell")
    if json_out:
        parser.add_argument("--json", metavar="OUT", nargs="?", const="-", help=json_out)
    else:
        parser.add_argument("--json", action="store_true")


def add_sample(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n-samples", type=int, default=1000, help="texts drawn (default 1000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep-repeats", action="store_true", help="do not drop texts that occur twice")
    parser.add_argument("--pooling", choices=POOLINGS, default="mean")
    parser.add_argument(
        "--sinks",
        choices=SINKS,
        help="attention sinks: drop, keep, or unit (tokens of length 1); default drop for mean and tokens, else keep",
    )
    parser.add_argument("--sink-ratio", type=float, default=SINK_RATIO, help="norm over the layer's median that makes a token a sink (5)")
    parser.add_argument("--max-length", type=int, default=128, help="tokens a text is cut to (default 128)")
    parser.add_argument("--n-neighbors", type=int, default=20, help="k of the neighbor graph (default 20)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def add_model_and_data(
    parser: argparse.ArgumentParser, default_model: str | None = "all-MiniLM-L6-v2", default_dataset: str | None = "docstrings"
) -> None:
    parser.add_argument("--model", default=default_model, help="bundled name, hub id or local folder (default all-MiniLM-L6-v2)")
    add_data(parser, default_dataset)


def add_data(parser: argparse.ArgumentParser, default_dataset: str | None) -> None:
    parser.add_argument(
        "--dataset",
        default=default_dataset,
        help="bundled name, hub id, or a .csv, .tsv, .jsonl, .json, .txt or .parquet file (text also as .gz)",
    )
    parser.add_argument("--config", help="configuration of a hub dataset, such as sst2 of nyu-mll/glue")
    parser.add_argument("--split", help="split of a hub dataset")
    parser.add_argument("--text-column", help="found by itself unless given")
    parser.add_argument("--pair-column", help="second text of a pair; '' for none")
    parser.add_argument("--label-column", help="'' for none")
    parser.add_argument(
        "--label-task", choices=("classification", "regression"), help="what the labels are taken for (default: as their values say)"
    )
    parser.add_argument("--encoding", help="of a text file that is not UTF-8, such as cp1252 or utf-16")
    parser.add_argument(
        "--header", choices=("yes", "no"), help="whether the first row of a CSV file names the columns (found unless given)"
    )
    parser.add_argument("--separator", choices=SEPARATOR_WORDS, help="of a CSV file's cells (found unless given; none for one column)")
    parser.add_argument("--skip-bad-rows", action="store_true", help="leave out rows that do not fit the header, and count them")
