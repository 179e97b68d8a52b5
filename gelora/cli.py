"""The command line: which commands and options there are, and how an error ends.

Hands the parsed options to `gelora.commands`. A GeloraError becomes one sentence on stderr and exit status 2.
"""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

import gelora.commands as commands
from gelora.cli_options import (
    AGAIN,
    HELD_OUT,
    add_data,
    add_held_out,
    add_model_and_data,
    add_points,
    add_race,
    add_ranks,
    add_sample,
    add_start,
)
from gelora.errors import Cancelled, GeloraError
from gelora.records import METHODS


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
    add_model_and_data(measure)
    add_sample(measure)
    measure.add_argument(
        "--estimators", default="twonn,mle", help="comma-separated names, or all (default twonn,mle; see gelora estimators)"
    )
    add_points(measure)
    measure.add_argument("--metric", choices=("euclidean", "cosine"), default="euclidean")
    measure.add_argument("--n-subsamples", type=int, default=20, help="halves behind the intervals, in pairs; 0 for none (default 20)")
    measure.add_argument("--baselines", action="store_true", help="also measure shuffled features and a Gaussian of the same covariance")
    measure.add_argument("--scale-curves", action="store_true", help="also measure N/2, N/4, N/8 rows and farther neighbors")
    measure.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32", help="of the forward pass")
    measure.add_argument("--again", action="store_true", help=AGAIN)
    measure.add_argument("--json", metavar="OUT", help="write the IdProfile here (- for standard output)")
    measure.set_defaults(command=commands.measure)

    preview = verbs.add_parser("preview", help="a dataset as it was read: first rows under their roles, counts, labels")
    add_data(preview, "docstrings")
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
    add_model_and_data(sensitivity)
    add_sample(sensitivity)
    sensitivity.add_argument("--estimator", default="twonn")
    sensitivity.add_argument(
        "--vary", default="all", help="comma-separated: metric, n_samples, pooling, sinks, distinct, discard_fraction (default all)"
    )
    sensitivity.add_argument("--json", metavar="OUT", help="write the Sensitivity here (- for standard output)")
    sensitivity.set_defaults(command=commands.sensitivity)

    similarity = verbs.add_parser("similarity", help="how alike the layers are: shared neighbors, information imbalance, CKA, labels")
    add_model_and_data(similarity)
    add_sample(similarity)
    similarity.add_argument("--metric", choices=("euclidean", "cosine"), default="euclidean")
    similarity.add_argument("--n-subsamples", type=int, default=20, help="halves behind the intervals, in pairs; 0 for none (default 20)")
    similarity.add_argument("--again", action="store_true", help=AGAIN)
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
    add_ranks(plan)
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
    add_race(race)
    race.add_argument("--repeat", action="store_true", help="start it although an equal run is queued or running")
    add_start(race, json_out="write the comparison (standard output without OUT)")
    race.set_defaults(command=commands.race)

    study = verbs.add_parser("study", help="races over tasks, models and budgets, as a TOML file asks; the same call again goes on")
    study.add_argument("file", help="TOML: budgets, tables [tasks.NAME], [race] and [arms.NAME] with the options below (docs/ranks.md)")
    add_race(study)
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
    add_model_and_data(compress, default_model=None, default_dataset=None)
    add_held_out(compress)
    compress.add_argument("--seed", type=int, default=0, help="of the held-out rows (default 0)")
    compress.add_argument("--max-length", type=int, default=128, help="tokens a text is cut to (default 128)")
    compress.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    compress.add_argument("--json", metavar="OUT", nargs="?", const="-", help="write norms and scores (standard output without OUT)")
    compress.set_defaults(command=commands.compress)

    train = verbs.add_parser("train", help="start fine-tuning runs, each in a process of its own")
    train.add_argument("--spec", metavar="FILE", help="a run as it was written (spec.json of a run's folder); other options change it")
    add_model_and_data(train, default_model=None, default_dataset=None)
    train.add_argument(
        "--preset", metavar="NAME", help="cola, sst2, ..., squad, alpaca: its data from the hub, or from the folder --dataset"
    )
    train.add_argument("--held-out", metavar="FILE", help=HELD_OUT)
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
    add_start(train)
    train.set_defaults(command=commands.train)

    runs = verbs.add_parser("runs", help="list the runs, show or delete some")
    runs.add_argument("id", nargs="*", metavar="ID")
    runs.add_argument("--json", action="store_true")
    runs.add_argument("--csv", metavar="OUT", help="write the table, or every logged value of the given runs (- for standard output)")
    runs.add_argument("--log", metavar="N", type=int, nargs="?", const=40, help="the last lines of the log (default 40)")
    runs.add_argument("--name", help="give the run a name ('' takes it away)")
    runs.add_argument("--notes", help="write notes to the run, in place of those it has")
    runs.add_argument("--tags", help="comma-separated tags of the run, in place of those it has")
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
    add_start(resume)
    resume.set_defaults(command=commands.resume)

    dashboard = verbs.add_parser("dashboard", help="open the dashboard in the browser")
    dashboard.add_argument("--port", type=int, help="where it listens (default: Streamlit's, 8501, or the next free one)")
    dashboard.add_argument("--no-browser", action="store_true", help="only start the server")
    dashboard.set_defaults(command=commands.dashboard)

    doctor = verbs.add_parser("doctor", help="say what is on this machine and whether it is in order")
    doctor.add_argument("--json", action="store_true")
    doctor.set_defaults(command=commands.doctor)
    return parser
