"""`gelora measure`, `gelora estimators`, `gelora sensitivity`: dimensions as tables or JSON."""

import argparse
import dataclasses
import json
from typing import Any

from gelora.commands.options import data_choice, drawn_sample, measurement_spec, names
from gelora.errors import InputError
from gelora.records import WITHOUT_PADDING, IdProfile, Sample, SinkReport, check_choice, check_whole, resolve_device
from gelora.terminal import TerminalProgress, print_table, say, write_json


def measure(options: argparse.Namespace) -> int:
    """Model and data -> the dimension of every layer."""
    from gelora.geometry import ESTIMATORS
    from gelora.measurements import Quantity, measured

    chosen = list(ESTIMATORS) if options.estimators.strip() == "all" else names(options.estimators)
    if not chosen:
        raise InputError(f"--estimators is empty; choose some of: {', '.join(ESTIMATORS)}.")
    for name in chosen:
        check_choice("estimator", name, tuple(ESTIMATORS))  # before the work that it would be too late after
    progress, device = TerminalProgress(), resolve_device(options.device)
    choices = {name: getattr(options, name) for name in ("metric", "n_subsamples", "dtype")}
    wanted = measurement_spec(options, options.model, data_choice(options), **choices)
    sample = drawn_sample(wanted, progress)
    say_what_was_drawn(sample, options)
    kinds = ["estimators"] + ["baselines"] * options.baselines + ["scales"] * options.scale_curves
    quantities = [Quantity(kind, tuple(chosen)) for kind in kinds]
    profile, was_there = measured(wanted, sample, quantities, again=options.again, device=device, progress=progress)
    if was_there:
        say("All of it was measured here before, with the same choices and texts; --again measures it again.", options.json == "-")
    progress.close()
    write_json(profile.to_json(indent=1), options.json)
    if options.json != "-":
        _print_profile(profile, len(sample))
    return 0


def say_what_was_drawn(sample: Sample, options: argparse.Namespace) -> None:
    """How many texts there are where that is fewer than asked for, what the labels are taken for, how the file was read."""
    if len(sample) < options.n_samples:
        kind = "texts" if options.keep_repeats else "different texts"
        has = f"{sample.source.choice.dataset} has {len(sample):,} {kind}"
        say(f"{options.n_samples:,} asked for, {has}: all of them are measured.", options.json == "-")
    if sample.task != "unlabeled":
        classes = f", {len(sample.label_names)} classes ({', '.join(sample.label_names[:6])})" if sample.label_names else ""
        say(f"Labels {sample.source.choice.label_column!r}: {sample.task}{classes}. To change it: --label-task", options.json == "-")
    for sentence in sample.source.report.sentences() if sample.source.report else ():
        say(sentence, options.json == "-")


def _print_profile(profile: IdProfile, n_texts: int) -> None:
    from gelora.geometry import is_scale_dependent, no_rise_sentence, resolution_sentence, rises, sign_sentence

    names = list(profile.estimates)
    scale = {name: is_scale_dependent(profile, name) for name in names}
    print_table(
        f"Intrinsic dimension of {profile.model.model_id} on {profile.sample_source.choice.dataset} "
        f"({n_texts} texts, pooling {profile.pooling}, {profile.metric}; [95% interval]; * moves by more than that at half the sample)",
        ["layer", *names],
        [
            [layer, *(_estimate_cell(profile.estimates[e][i]) + ("*" if scale[e][i] else "") for e in names)]
            for i, layer in enumerate(profile.layer_names)
        ],
    )
    if profile.without_padding:
        print(WITHOUT_PADDING)
    if profile.sinks is not None:
        _print_sinks(profile.layer_names, profile.sinks)
    for kind, curves in profile.baselines.items():
        rows = [[layer, *(f"{curves[e][i]:.2f}" for e in curves)] for i, layer in enumerate(profile.layer_names)]
        print_table(f"The same on the baseline: {kind}", ["layer", *curves], rows)
    for curve in profile.scale_curves.values():
        of = f"{curve.estimator} by number of rows" if curve.kind == "decimation" else "gride by the farther neighbor's order"
        rows = [[layer, *(f"{d:.2f}" for d in curve.dimensions[i])] for i, layer in enumerate(profile.layer_names)]
        print_table(of, ["layer", *(f"{scale:.0f}" for scale in curve.scales)], rows)
    for name, estimates in profile.estimates.items():
        gaps = [i for i, estimate in enumerate(estimates) if estimate.dimension is None]
        if gaps:
            where = "every layer" if len(gaps) == len(estimates) else ", ".join(profile.layer_names[i] for i in gaps)
            print(f"Undefined by {name} at {where}: {estimates[gaps[0]].note}")
    first = names[0]
    up = [r for r in rises(profile, first) if r.goes_up]
    print(
        f"Blocks whose rise exceeds its interval by {first}: "
        + ", ".join(f"{profile.layer_names[r.block].removeprefix('block ')} (+{r.value:.2f})" for r in up)
        if up
        else f"By {first}: {no_rise_sentence(profile, first)}"
    )
    resolved = resolution_sentence(profile)
    if resolved:
        print(resolved)
    if len(names) > 1:
        print(sign_sentence(profile))


def _print_sinks(layer_names: tuple[str, ...], sinks: SinkReport) -> None:
    """The table of attention sinks where there are any, and what of it bears on the curve."""
    if sinks.shares.any():
        columns = zip(layer_names, sinks.shares, sinks.largest_norms, sinks.first_direction_kept, sinks.first_direction, strict=True)
        print_table(
            f"Attention sinks (tokens of more than {sinks.ratio:g} times the layer's median norm; treatment: {sinks.treatment})",
            ["layer", "tokens that are sinks", "largest norm / median", "variance in one direction, all tokens", "as pooled"],
            [[layer, f"{share:.1%}", f"{norm:.1f}", f"{kept:.0%}", f"{pooled:.0%}"] for layer, share, norm, kept, pooled in columns],
        )
    for sentence in sinks.sentences(layer_names):
        print(sentence)


def estimators(options: argparse.Namespace) -> int:
    """Which estimators there are."""
    from gelora.geometry import ESTIMATORS

    if options.json:
        print(json.dumps([{"name": k.name, "label": k.label, "idea": k.idea, "source": k.source} for k in ESTIMATORS.values()], indent=1))
    else:
        print_table("Estimators", ["name", "what it counts", "source"], [[k.name, k.idea, k.source] for k in ESTIMATORS.values()])
    return 0


def calibrate(options: argparse.Namespace) -> int:
    """Estimators on a manifold of known dimension."""
    from gelora.geometry import ESTIMATORS, FIXED_DIMENSIONS, MANIFOLDS, Case, calibrate as measure_manifold, summarize

    if options.manifold == "list":
        rows = [[name, "any" if dimension is None else str(dimension)] for name, dimension in FIXED_DIMENSIONS.items()]
        print_table("Manifolds", ["name", "dimension"], rows)
        return 0
    check_choice("manifold", options.manifold, tuple(FIXED_DIMENSIONS))
    case = Case(
        options.manifold,
        options.n_samples,
        dimension=options.dimension if FIXED_DIMENSIONS[options.manifold] is None else None,
        width=options.width if options.manifold in MANIFOLDS else None,
        noise=options.noise,
    )
    chosen = list(ESTIMATORS) if options.estimators.strip() == "all" else names(options.estimators)
    progress = TerminalProgress()
    check_whole("--draws", options.draws, 1)
    trials = measure_manifold([case], chosen, range(options.draws), n_neighbors=options.n_neighbors, progress=progress)
    progress.close()
    if options.json:
        print(json.dumps([dataclasses.asdict(trial) for trial in trials], indent=1))
        return 0
    rows = [
        [
            s.estimator,
            _number(s.mean),
            f"{s.relative_bias:+.0%}" if s.relative_bias is not None else "",
            f"{s.sd:.2f}" if s.sd is not None else "",
            f"{s.coverage:.0%}" if s.coverage is not None else "",
            f"{s.coverage_of_mean:.0%}" if s.coverage_of_mean is not None and s.n_defined > 1 else "",
            f"{s.seconds + s.interval_seconds:.2f}",
            "; ".join(s.notes),
        ]
        for s in summarize(trials)
    ]
    title = f"{case.manifold} of dimension {case.truth}: {len(range(options.draws))} draws of {case.n_samples} points"
    print_table(title, ["estimator", "mean", "bias", "sd", "holds d", "holds mean", "seconds a draw", "note"], rows)
    print(
        f"holds d: share of the draws whose 95% interval holds the true dimension, {case.truth}. holds mean: share whose interval holds "
        "the mean over the draws. An interval sees how much the answer varies from draw to draw, and no bias."
    )
    return 0


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def sensitivity(options: argparse.Namespace) -> int:
    """The curve under each alternative of a choice."""
    from gelora.sensitivity import VARIATIONS, measure_sensitivity

    progress = TerminalProgress()
    answer = measure_sensitivity(
        options.model,
        data_choice(options),
        n_samples=options.n_samples,
        seed=options.seed,
        distinct=not options.keep_repeats,
        pooling=options.pooling,
        sinks=options.sinks,
        sink_ratio=options.sink_ratio,
        max_length=options.max_length,
        estimator=options.estimator,
        vary=VARIATIONS if options.vary.strip() == "all" else names(options.vary),
        n_neighbors=options.n_neighbors,
        device=resolve_device(options.device),
        progress=progress,
    )
    progress.close()
    write_json(answer.to_json(indent=1), options.json)
    if options.json != "-":
        for variation, curves in answer.curves.items():
            rows = [
                [name + (" (present)" if name == answer.base[variation] else ""), *(f"{d:.2f}" if d == d else "undefined" for d in curve)]
                for name, curve in curves.items()
            ]
            print_table(
                f"{answer.estimator} by {variation}: moves by up to {answer.span(variation):.2f}", [variation, *answer.layer_names], rows
            )
        for variation, note in answer.notes.items():
            print(f"{variation}: {note}")
    return 0


def _estimate_cell(estimate: Any) -> str:
    if estimate.dimension is None:
        return "undefined"
    interval = f" [{estimate.ci_low:.2f}, {estimate.ci_high:.2f}]" if estimate.ci_low is not None else ""
    return f"{estimate.dimension:.2f}{interval}"
