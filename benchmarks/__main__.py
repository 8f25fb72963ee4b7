"""List the benchmarks and run them one after another."""

import argparse
import ast
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT

PROGRAMS = (
    "help_time",
    "verify",
    "house",
    "suite_time",
    "mutations",
    "identity_check",
    "eer",
    "lfw_view1",
    "compare_networks",
    "crop_filter",
    "large_photos",
    "two_crops",
    "forensic_cost",
    "calibrations",
    "attacks",
    "real_fakes",
    "fakes_fool",
    "neural_fakes",
    "cleaning_lfw",
    "cleaning_speed",
    "pairs_speed",
    "million_pairs",
    "evaluate_scale",
    "ijb_scale",
    "all_pairs",
    "reuse",
    "throughput",
    "align_busy",
    "aligners",
    "generators",
    "ddp_overhead",
    "train_scale",
    "gpu",
    "driver_alone",
    "scale",
    "two_revisions",
    "tune_rendered",
    "embedding_map",
    "finetune_lfw",
    "detail_lfw",
    "denormals",
    "storage_trace",
    "unseen_fakes",
    "deepfake_protocol",
)


def main() -> int:
    """Entry point; the exit code is 1 if any program failed."""
    options = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    options.add_argument("--list", action="store_true", help="say what there is and stop")
    options.add_argument("--data", type=Path, help="folder of the test data, handed to every program")
    chosen = options.parse_args()
    for name in PROGRAMS:
        print(f"{name:<19}{_claim(name)}")
    if chosen.list:
        return 0
    handed_on = ["--data", str(chosen.data)] if chosen.data else []
    failed = [name for name in PROGRAMS if _run(name, handed_on)]
    print(f"Failed: {', '.join(failed)}" if failed else "All programs ended well.")
    return int(bool(failed))


def _claim(name: str) -> str:
    """The first line of the program's docstring."""
    source = (ROOT / "benchmarks" / f"{name}.py").read_text()
    return (ast.get_docstring(ast.parse(source)) or "").splitlines()[0]


def _run(name: str, handed_on: list[str]) -> int:
    print(f"\n== {name}", flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *handed_on], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
