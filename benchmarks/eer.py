"""Metrics of 20 million scores: time, memory and values against scikit-learn's `roc_curve`.

Each side runs in a process of its own, so that one's memory does not hide in the other's.
"""

import json
import subprocess
import sys
import time

import numpy as np

from benchmarks.harness import ROOT, Report, Spread, parser
from benchmarks.memory import forget_peak, peak
from faceverify.evaluation.metrics import auc, equal_error_rate, fnmr_at_fmr, sort_scores

TARGET = 1e-4


def make_scores(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Genuine (a tenth) and impostor scores, float32, seeded."""
    rng = np.random.default_rng(0)
    genuine = rng.normal(0.6, 0.12, count // 10).astype(np.float32)
    return genuine, rng.normal(0.0, 0.1, count - len(genuine)).astype(np.float32)


def ours(genuine: np.ndarray, impostor: np.ndarray) -> dict[str, float]:
    """EER, AUC and FNMR at FMR 1e-4."""
    scores = sort_scores(genuine, impostor)
    point = fnmr_at_fmr(scores, TARGET)
    return {"eer": equal_error_rate(scores).eer, "auc": auc(scores), "fnmr": point.fnmr}


def scikit_learn(genuine: np.ndarray, impostor: np.ndarray) -> dict[str, float]:
    """The same from the ROC with all its points, the EER interpolated between two of them."""
    from sklearn.metrics import auc as area
    from sklearn.metrics import roc_curve

    labels = np.concatenate([np.ones(len(genuine), np.int8), np.zeros(len(impostor), np.int8)])
    fpr, tpr, _ = roc_curve(labels, np.concatenate([genuine, impostor]), drop_intermediate=False)
    gap = fpr - (1 - tpr)
    high = int(np.argmax(gap >= 0))
    step = -gap[high - 1] / (gap[high] - gap[high - 1])
    eer = fpr[high - 1] + step * (fpr[high] - fpr[high - 1])
    last = int(np.searchsorted(fpr, TARGET, side="right")) - 1
    return {"eer": float(eer), "auc": float(area(fpr, tpr)), "fnmr": float(1 - tpr[last])}


SIDES = {"faceverify": ours, "scikit-learn": scikit_learn}


def measure(side: str, count: int) -> dict[str, float]:
    """Inside the child: seconds and bytes beyond the scores themselves, and the values."""
    genuine, impostor = make_scores(count)
    SIDES[side](genuine[:1000], impostor[:100_000])  # imports
    before = forget_peak()
    start = time.perf_counter()
    values = SIDES[side](genuine, impostor)
    seconds = time.perf_counter() - start
    return values | {"seconds": seconds, "bytes": peak() - before}


def child(side: str, count: int) -> dict[str, float]:
    """Measure in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.eer", "--child", side, "--scores", str(count)]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--scores", type=int, default=20_000_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--child", choices=SIDES, help="measure one side and print JSON")
    chosen = options.parse_args()
    if chosen.child:
        print(json.dumps(measure(chosen.child, chosen.scores)))
        return
    columns = ("program", "seconds", "memory beyond the scores, GiB", "EER", "AUC", f"FNMR at FMR {TARGET:g}")
    report = Report("eer", f"EER, AUC and FNMR of {chosen.scores:,} float32 scores.", columns)
    found = {side: [child(side, chosen.scores) for _ in range(chosen.repeats)] for side in SIDES}
    for side, runs in found.items():
        values = [f"{runs[0][name]:.12f}" for name in ("eer", "auc", "fnmr")]
        memory = Spread.of([run["bytes"] / 2**30 for run in runs])
        report.add(side, f"{Spread.of([run['seconds'] for run in runs]):.2f}", f"{memory:.2f}", *values)
    first, second = (runs[0] for runs in found.values())
    worst = max(abs(first[name] - second[name]) for name in ("eer", "auc", "fnmr"))
    report.notes += [f"Largest difference of a value: {worst:.1e}.", f"Median of {chosen.repeats} runs each."]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
