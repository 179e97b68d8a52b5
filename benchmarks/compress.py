"""An adapter trained at a high rank, compressed: `python -m benchmarks.compress --dataset FILE --held-out FILE [--json FILE]`.

Trains the bundled model uniform at r 16 on 2,000 rows (or takes a finished run's id with --run), compresses the adapter to
shares of its parameters, and measures the task's held-out metric of each on the same rows.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks import record
from gelora.ranks import adapter_spectra, compress_adapter, uniform_ranks
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import run_info, score_adapters, start_run, wait_for
from gelora.sources import BUNDLED_MODEL, model_structure
from gelora.terminal import TerminalProgress


def main() -> None:
    """Train or find, compress, score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", help="rows to train on")
    parser.add_argument("--held-out", help="held-out rows")
    parser.add_argument("--run", metavar="ID", help="a finished run in place of a new one")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--target-modules", default="attention")
    parser.add_argument("--shares", default="0.5,0.25,0.1", help="of the adapter's parameters (default 0.5,0.25,0.1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if options.run is None:
        plan = uniform_ranks(model_structure(BUNDLED_MODEL), options.rank, options.target_modules)
        training = TrainingConfig(n_train=options.rows, n_eval=1000, device="cpu", probe_size=0)
        run_id = start_run(RunSpec(BUNDLED_MODEL, DataChoice(options.dataset), plan, training, options.seed, DataChoice(options.held_out)))
        info = wait_for(run_id)
    else:
        info = run_info(options.run)
    spec, adapter = info.spec, info.folder / "adapter"
    assert spec is not None and info.state.status == "finished", info.state
    spectra = adapter_spectra(adapter)
    n_units, n_params = sum(s.r for s in spectra), sum(s.r * (s.in_features + s.out_features) for s in spectra)
    used = {
        "units": n_units,
        "units_of_99_energy": sum(s.energy_rank() for s in spectra),
        "units_above_noise": sum(s.n_above_noise for s in spectra),
        "mean_effective_rank": round(sum(s.effective_rank for s in spectra) / len(spectra), 2),
        "mean_stable_rank": round(sum(s.stable_rank for s in spectra) / len(spectra), 2),
    }
    with tempfile.TemporaryDirectory() as folder:
        shares = [float(share) for share in options.shares.split(",")]
        outs = [Path(folder) / f"{share}" for share in shares]
        made = [compress_adapter(adapter, out, budget=f"params:{int(share * n_params)}") for share, out in zip(shares, outs, strict=True)]
        metric, scores = score_adapters(spec, [adapter, *outs], TerminalProgress())
    plan = spec.plan
    trained = {"case": "as trained", "rank": max(plan.ranks.values()) if plan else None, "n_params": n_params, "n_modules": len(spectra)}
    rows = [trained | used | _rounded(scores[0])]
    for share, result, score in zip(shares, made, scores[1:], strict=True):
        kept = [module.kept for module in result.modules]
        cut = {"case": f"compressed to {share:.0%}", "n_params": result.n_params, "n_modules": sum(map(bool, kept))}
        cut |= {
            "largest_rank": max(kept),
            "relative_change": round(result.relative, 4),
            "change_of_score": score[metric] - scores[0][metric],
        }
        rows.append(cut | _rounded(score))
    record.write("compress", rows, options.json)


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items()}


if __name__ == "__main__":
    main()
