"""What Ray Train and our loop cost: seconds per step of `train` with two workers, against plain torchrun.

Same network, data, cores, batch and thread count, gloo; both decode their faces ahead, in processes of their own. The
data are people drawn by the program, aligned. Medians of a run's steps after the first quarter; runs take turns.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from benchmarks.ddp_plain import DIM
from benchmarks.harness import ROOT, Report, Spread, parser, run_job, run_program

WORKERS = 2


def prepare(work: Path, people: int) -> tuple[Path, Path]:
    """Faces and pairs of drawn people."""
    drawn = ["--layout", "rendered", "--source", str(work / "people"), "--rendered.persons", str(people)]
    drawn += ["--rendered.val-share", "0.2"]
    run_job("ingest", work / "photos", *drawn)
    run_job("align", work / "faces", "--photos", str(work / "photos"), "--align.method", "annotated")
    run_job("pairs", work / "pairs", "--photos", str(work / "photos"), "--faces", str(work / "faces"))
    return work / "faces", work / "pairs"


def plain(chosen: argparse.Namespace, faces: Path, pairs: Path, work: Path) -> float:
    """Seconds per step of the rival."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(WORKERS)]
    program = [str(ROOT / "benchmarks" / "ddp_plain.py"), str(faces / "faces"), str(pairs / "pairs")]
    given = [chosen.architecture, str(chosen.batch), str(chosen.steps), str(work / "plain.json")]
    run_program(*torchrun, *program, *given)
    return json.loads((work / "plain.json").read_text())


def ours(chosen: argparse.Namespace, faces: Path, pairs: Path, out: Path) -> tuple[float, float]:
    """Seconds per step of `train`, and the share of the time that its workers waited for data."""
    named = {
        "--faces": faces,
        "--pairs": pairs,
        "--network.architecture": chosen.architecture,
        "--network.dim": DIM,
        "--batches.size": chosen.batch,
        "--batches.epochs": 1000,
        "--batches.max-steps": chosen.steps,
        "--validation.every": chosen.steps,
        "--validation.pairs": 40,
        "--validation.replicates": 0,
        "--tell-every": 1,
        "--workers": WORKERS,
    }
    run_job("train", out, *(str(part) for item in named.items() for part in item))
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "seconds" in line][chosen.steps // 4 :]
    waited = sum(line["wait"] for line in steps) / sum(line["seconds"] for line in steps)
    return statistics.median(line["seconds"] for line in steps), waited


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--architecture", default="ir_18")
    options.add_argument("--batch", type=int, default=16, help="pairs, over both workers")
    options.add_argument("--steps", type=int, default=40)
    options.add_argument("--people", type=int, default=40)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    claim = f"{chosen.architecture}, {chosen.batch} pairs a step, {WORKERS} workers of one core. Target: at most 1.05."
    report = Report("ddp_overhead", claim, ("program", "seconds per step", "of torchrun", "waits for data"))
    rival, mine, waits = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        faces, pairs = prepare(work, chosen.people)
        for k in range(chosen.repeats):
            rival.append(plain(chosen, faces, pairs, work))
            seconds, waited = ours(chosen, faces, pairs, work / f"run{k}")
            mine.append(seconds)
            waits.append(waited)
    ratio = Spread.of([a / b for a, b in zip(mine, rival, strict=True)])
    report.add("torchrun, DistributedDataParallel, DataLoader", f"{Spread.of(rival):.3f}", "1", "")
    report.add("**train**, Ray Train, DataLoader", f"{Spread.of(mine):.3f}", f"{ratio:.3f}", f"{Spread.of(waits):.1%}")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
