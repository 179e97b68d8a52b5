"""The command line: which commands and options there are, and how an error ends.

Hands the parsed options to `gelora.commands`. A GeloraError becomes one sentence on stderr and exit status 2.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

import gelora.commands as commands
from gelora.errors import Cancelled, GeloraError
from gelora.records import METHODS, POINTS, POOLINGS, ROUNDINGS, SEPARATOR_WORDS, SINK_RATIO, SINKS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status (0 done, 1 a check or run failed, 2 bad input, 130 interrupted)."""
    options = _parser().parse_args(arguments)
    _hear_interrupts()
    try:
        return int(options.command(options))
    except GeloraError as error:
        print(f"gelora: {error}", file=sys.stderr)
        return 130 if isinstance(error, Cancelled) else 2
    except MemoryError as error:
        asked = f" ({error})" if str(error) else ""
        print(f"gelora: out of memory{asked}: ask for fewer samples or points, shorter texts or a smaller model.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("gelora: interrupted; nothing half-written is left.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


_HELD_OUT = "held-out rows: a file with the same columns, or a split of the same dataset"
_AGAIN = "measure also what was measured before with the same choices, here or in the dashboard"


def _hear_interrupts() -> None:
    """Let SIGINT interrupt, where it was inherited as ignored: a shell without job control starts its background jobs so.

    SIGHUP stays as it was inherited: to ignore it is what `nohup` is for.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gelora", description="Layer-wise intrinsic dimension of transformers, and the LoRA ranks that follow from it."
    )
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    measure = verbs.add_parser("measure", help="model and data -> intrinsic dimension of every layer")
    _add_model_and_data(measure)
    _add_sample(measure)
    measure.add_argument(
        "--estimators", default="twonn,mle", help="comma-separated names, or all (default twonn,mle; see gelora estimators)"
    )
    _add_points(measure)
    measure.add_argument("--metric", choices=("euclidean", "cosine"), default="euclidean")
    measure.add_argument("--n-subsamples", type=int, default=20, help="halves behind the intervals, in pairs; 0 for none (default 20)")
    measure.add_argument("--baselines", action="store_true", help="also measure shuffled features and a Gaussian of the same covariance")
    measure.add_argument("--scale-curves", action="store_true", help="also measure N/2, N/4, N/8 rows and farther neighbors")
    measure.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the forward pass")
    measure.add_argument("--again", action="store_true", help=_AGAIN)
    measure.add_argument("--json", metavar="OUT", help="write the IdProfile here (- for standard output)")
    measure.set_defaults(command=commands.measure)

    preview = verbs.add_parser("preview", help="a dataset as it was read: first rows under their roles, counts, labels")
    _add_data(preview, "docstrings")
    preview.add_argument("--rows", type=int, default=5, help="how many of the first rows are shown (default 5)")
    preview.add_argument("--json", metavar="OUT", help="write the DataPreview here (- for standard output)")
    preview.set_defaults(command=commands.preview)

    estimators = verbs.add_parser("estimators", help="the estimators there are, and what each counts")
    estimators.add_argument("--json", action="store_true")
    estimators.set_defaults(command=commands.estimators)

    compare = verbs.add_parser("compare", help="two profiles -> their difference at every layer, with intervals")
    compare.add_argument("first", metavar="A.json", help="what `gelora measure --json` wrote")
    compare.add_argument("second", metavar="B.json", help="another one; differences are B - A")
    compare.add_argument("--estimator", help="default: every estimator that both profiles hold")
    compare.add_argument("--json", metavar="OUT", nargs="?", const="-", help="write the differences (standard output without OUT)")
    compare.set_defaults(command=commands.compare)

    sensitivity = verbs.add_parser("sensitivity", help="the curve under each alternative of metric, n_samples, pooling, distinct, ...")
    _add_model_and_data(sensitivity)
    _add_sample(sensitivity)
    sensitivity.add_argument("--estimator", default="twonn")
    sensitivity.add_argument(
        "--vary", default="all", help="comma-separated: metric, n_samples, pooling, sinks, distinct, discard_fraction (default all)"
    )
    sensitivity.add_argument("--json", metavar="OUT", help="write the Sensitivity here (- for standard output)")
    sensitivity.set_defaults(command=commands.sensitivity)

    similarity = verbs.add_parser("similarity", help="how alike the layers are: shared neighbors, information imbalance, CKA, labels")
    _add_model_and_data(similarity)
    _add_sample(similarity)
    similarity.add_argument("--metric", choices=("euclidean", "cosine"), default="euclidean")
    similarity.add_argument("--n-subsamples", type=int, default=20, help="halves behind the intervals, in pairs; 0 for none (default 20)")
    similarity.add_argument("--again", action="store_true", help=_AGAIN)
    similarity.add_argument("--json", metavar="OUT", help="write the LayerSimilarity here (- for standard output)")
    similarity.set_defaults(command=commands.similarity)

    calibrate = verbs.add_parser("calibrate", help="estimators against manifolds of known dimension")
    calibrate.add_argument("--manifold", default="affine", help="a name, or list to see them all (default affine)")
    calibrate.add_argument("--dimension", type=int, default=5, help="of the manifold, where it can be chosen (default 5)")
    calibrate.add_argument("--width", type=int, default=50, help="number of coordinates (default 50)")
    calibrate.add_argument("--n-samples", type=int, default=1000, help="points a draw (default 1000)")
    calibrate.add_argument("--noise", type=float, default=0.0, help="standard deviation in every coordinate (default 0)")
    calibrate.add_argument("--draws", type=int, default=5, help="seeds 0, 1, ... (default 5)")
    calibrate.add_argument("--estimators", default="twonn,mle,gride,danco", help="comma-separated names, or all")
    calibrate.add_argument("--n-neighbors", type=int, default=20, help="k of the neighbor graph (default 20)")
    calibrate.add_argument("--json", action="store_true", help="every draw's answers, as JSON on standard output")
    calibrate.set_defaults(command=commands.calibrate)

    plan = verbs.add_parser("plan", help="profile, or model and data -> LoRA ranks, their budget, a LoraConfig")
    plan.add_argument("--profile", metavar="FILE", help="what `gelora measure --json` wrote; measured now where it is needed and not given")
    plan.add_argument(
        "--strategy", choices=(*commands.strategy_names(), "all"), default="gelora", help="all compares every one (default gelora)"
    )
    _add_ranks(plan)
    plan.add_argument(
        "--set-rank", metavar="NAME=R", action="append", default=[], help="a block number or a module's name, and its rank; may be repeated"
    )
    plan.add_argument("--n-labels", type=int, help="count the head of a classifier of so many labels (1 for regression)")
    plan.add_argument("--batch-size", type=int, default=16, help="for the memory of a training step (default 16)")
    plan.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the weights in training")
    plan.add_argument("--json", metavar="OUT", nargs="?", const="-", help="write the RankPlan, or all's rows (standard output without OUT)")
    plan.add_argument("--csv", metavar="OUT", help="write one row a module")
    plan.add_argument("--budget-json", metavar="OUT", help="write parameters, bytes and memory (- for standard output)")
    plan.add_argument("--lora-config", metavar="DIR", help="write adapter_config.json, as LoraConfig.from_pretrained reads it, into DIR")
    plan.set_defaults(command=commands.plan)

    race = verbs.add_parser("race", help="train several strategies side by side on the same batches, and compare them at one budget")
    _add_race(race)
    _add_start(race, json_out="write the comparison (standard output without OUT)")
    race.set_defaults(command=commands.race)

    study = verbs.add_parser("study", help="races over tasks, models and budgets, as a TOML file asks; the same call again goes on")
    study.add_argument("file", help="TOML: budgets, tables [tasks.NAME], [race] and [arms.NAME] with the options below (docs/ranks.md)")
    _add_race(study)
    study.add_argument("--json", metavar="OUT", nargs="?", const="-", help="write all rows (standard output without OUT)")
    study.set_defaults(command=commands.study)

    inspect = verbs.add_parser("inspect", help="a trained LoRA adapter -> which directions of every B·A training really used")
    inspect.add_argument("adapter", metavar="ADAPTER", help="the folder that PEFT saved, or the id of a run")
    inspect.add_argument("--json", metavar="OUT", nargs="?", const="-", help="write one object a module (standard output without OUT)")
    inspect.set_defaults(command=commands.inspect)

    compress = verbs.add_parser("compress", help="a trained LoRA adapter -> its largest singular values, as an adapter of fewer parameters")
    compress.add_argument("adapter", metavar="ADAPTER", help="the folder that PEFT saved, or the id of a run")
    compress.add_argument("--out", metavar="DIR", required=True, help="where the compressed adapter is written")
    size = compress.add_mutually_exclusive_group()
    size.add_argument("--energy", type=float, help="share of the sum of squared singular values to keep (default 0.95)")
    size.add_argument("--match", metavar="BUDGET", help="uniform:R (on the adapter's modules), params:N or mb:X")
    size.add_argument("--params", type=int, metavar="N", help="the same as --match params:N")
    _add_model_and_data(compress, default_model=None, default_dataset=None)
    _add_held_out(compress)
    compress.add_argument("--seed", type=int, default=0, help="of the held-out rows (default 0)")
    compress.add_argument("--max-length", type=int, default=128, help="tokens a text is cut to (default 128)")
    compress.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    compress.add_argument("--json", metavar="OUT", nargs="?", const="-", help="write norms and scores (standard output without OUT)")
    compress.set_defaults(command=commands.compress)

    train = verbs.add_parser("train", help="start fine-tuning runs, each in a process of its own")
    train.add_argument("--spec", metavar="FILE", help="a run as it was written (spec.json of a run's folder); other options change it")
    _add_model_and_data(train, default_model=None, default_dataset=None)
    train.add_argument(
        "--preset", metavar="NAME", help="cola, sst2, ..., squad, alpaca: its data from the hub, or from the folder --dataset"
    )
    train.add_argument("--held-out", metavar="FILE", help=_HELD_OUT)
    method = train.add_mutually_exclusive_group()
    method.add_argument("--plan", metavar="FILE", help="what `gelora plan --json` wrote")
    method.add_argument("--rank", type=int, help="uniform rank r of every adapted module")
    method.add_argument("--head-only", action="store_true", help="train the head alone, for comparison (--method head)")
    train.add_argument("--method", choices=METHODS, help="lora (default) and adalora need ranks, the others have none")
    train.add_argument("--target-modules", default="attention", help="for --rank (default attention)")
    train.add_argument("--seed", type=int, help="default 0")
    train.add_argument("--seeds", metavar="S,S,...", help="a run for each of them, one after another")
    train.add_argument("--epochs", type=float)
    train.add_argument("--device", choices=("auto", "cpu", "cuda"))
    train.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], help=f"any of: {', '.join(commands.training_fields())}")
    train.add_argument("--repeat", action="store_true", help="start it although an equal run is queued or running")
    _add_start(train)
    train.set_defaults(command=commands.train)

    runs = verbs.add_parser("runs", help="list the runs, show or delete some")
    runs.add_argument("id", nargs="*", metavar="ID")
    runs.add_argument("--json", action="store_true")
    runs.add_argument("--csv", metavar="OUT", help="write the table, or every logged value of the given runs (- for standard output)")
    runs.add_argument("--log", metavar="N", type=int, nargs="?", const=40, help="the last lines of the log (default 40)")
    runs.add_argument("--delete", action="store_true", help="delete the given runs: log, checkpoints, adapter, metrics")
    runs.add_argument("--export-arm", nargs=2, metavar=("ARM", "DIR"), help="write one arm of a race as a PEFT adapter into the folder DIR")
    runs.add_argument("--seed", type=int, help="of the exported arm (default: the race's first)")
    runs.set_defaults(command=commands.runs)

    stop = verbs.add_parser("stop", help="stop a run; it saves a checkpoint first")
    stop.add_argument("id", metavar="ID", help="a run, or all")
    stop.add_argument("--grace-seconds", type=float, default=30.0, help="wait this long before the process is killed (default 30)")
    stop.add_argument("--json", action="store_true")
    stop.set_defaults(command=commands.stop)

    resume = verbs.add_parser("resume", help="let a stopped, failed or killed run go on from its last checkpoint")
    resume.add_argument("id", metavar="ID")
    _add_start(resume)
    resume.set_defaults(command=commands.resume)

    dashboard = verbs.add_parser("dashboard", help="open the dashboard in the browser")
    dashboard.add_argument("--port", type=int, help="where it listens (default: Streamlit's, 8501, or the next free one)")
    dashboard.add_argument("--no-browser", action="store_true", help="only start the server")
    dashboard.set_defaults(command=commands.dashboard)

    doctor = verbs.add_parser("doctor", help="say what is on this machine and whether it is in order")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(command=commands.doctor)
    return parser


def _add_ranks(parser: argparse.ArgumentParser) -> None:
    """What ranks are made from, and how many they may be."""
    _add_model_and_data(parser, default_model=None, default_dataset=None)
    _add_sample(parser)
    _add_points(parser)
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
    parser.add_argument("--again", action="store_true", help=_AGAIN)


def _add_points(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--points", choices=POINTS, default="blocks", help="halves: look between attention and MLP too, a rise and a rank for each half"
    )


def _add_held_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--held-out", metavar="FILE", help=_HELD_OUT)
    parser.add_argument("--held-out-rows", type=int, default=500, help="default 500")
    parser.add_argument("--task", default="auto", help="auto, classification, regression, causal-lm or instruction")


def _add_race(parser: argparse.ArgumentParser) -> None:
    """What races, and for how long."""
    parser.add_argument("--profile", metavar="FILE", help="for the rule's ranks, as in plan")
    parser.add_argument("--strategies", default="gelora,uniform,random", help="comma-separated, or all (default gelora,uniform,random)")
    _add_ranks(parser)
    parser.add_argument("--reference", default="uniform", help="the strategy that the others are held against (default uniform)")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps (default 100)")
    parser.add_argument("--batch-size", type=int, default=16, help="rows a step (default 16)")
    parser.add_argument("--learning-rates", default="5e-4", help="comma-separated; every strategy runs at each (default 5e-4)")
    parser.add_argument("--seeds", default="0", help="comma-separated: of rows, order, head and adapters; a race each (default 0)")
    _add_held_out(parser)
    parser.add_argument("--eval-every", type=int, default=0, help="steps between evaluations with a checkpoint (default: four in all)")
    parser.add_argument("--repeat", action="store_true", help="start it although an equal run is queued or running")


def _add_start(parser: argparse.ArgumentParser, json_out: str | None = None) -> None:
    parser.add_argument("--runs-at-once", type=int, default=1, help="how many runs its device may have, this one included (default 1)")
    parser.add_argument(
        "--report-to", default="", metavar="A,B", help="trackers told what the run logs: mlflow, tensorboard, trackio, wandb, ..."
    )
    parser.add_argument("--detach", action="store_true", help="return at once; the run goes on without this shell")
    if json_out:
        parser.add_argument("--json", metavar="OUT", nargs="?", const="-", help=json_out)
    else:
        parser.add_argument("--json", action="store_true")


def _add_sample(parser: argparse.ArgumentParser) -> None:
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


def _add_model_and_data(
    parser: argparse.ArgumentParser, default_model: str | None = "all-MiniLM-L6-v2", default_dataset: str | None = "docstrings"
) -> None:
    parser.add_argument("--model", default=default_model, help="bundled name, hub id or local folder (default all-MiniLM-L6-v2)")
    _add_data(parser, default_dataset)


def _add_data(parser: argparse.ArgumentParser, default_dataset: str | None) -> None:
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
