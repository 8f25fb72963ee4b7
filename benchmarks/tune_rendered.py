"""A search of twelve trainings finds a better recipe than the one given, with ASHA and with Optuna, also when killed.

People are drawn by the program; the network is the tiny one. Each search begins with the given recipe (trial 0), which
is the rival. Each is run twice with the same seed, one trial at a time, by Ray's own classes: undisturbed, and with its
driver killed twice (kill -9) and the same command given again. What is compared is the validation EER that a search
chooses by, which flatters it a little; the table says how good the best recipe is on people that no trial has seen.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from benchmarks.harness import ROOT, Report, parser, run_job

TRIALS = 12
KILLED_AFTER = (2, 7)  # trials
SEARCHES = {
    "ASHA": {"algorithm": "random", "scheduler": "asha"},
    "Optuna": {"algorithm": "optuna", "scheduler": "none", "startup": 4},
}
SPACE = {
    "optimiser.learning_rate": {"log_uniform": [1e-6, 1e-2]},
    "optimiser.weight_decay": {"log_uniform": [1e-4, 1e-1]},
    "losses.adaptive_margin.margin": {"uniform": [0.0, 0.6]},
    "losses.adaptive_margin.slope": {"uniform": [0.0, 0.5]},
    "losses.adaptive_margin.scale": {"log_uniform": [8, 128]},
}
TRAINING = {
    "network": {"architecture": "tiny", "dim": 64, "bn": "batch"},
    "batches": {"size": 16, "epochs": 50},
    "validation": {"replicates": 0, "keep": 1},
}


def draw(home: Path, people: int) -> None:
    """Rendered people as faces, and pairs to learn from, to validate and to test with, of different people."""
    run_job("ingest", home / "photos", "--source", str(home / "drawn"), "--layout", "rendered",
            "--rendered.persons", str(people), "--rendered.photos-per-person", "6", "--rendered.fakes-per-person", "3",
            "--rendered.train-share", "0.5")  # fmt: skip
    run_job("align", home / "faces", "--photos", str(home / "photos"), "--align.method", "annotated")
    run_job("pairs", home / "pairs", "--photos", str(home / "photos"), "--faces", str(home / "faces"))
    pairs = pq.read_table(home / "pairs" / "pairs")
    is_train = pc.equal(pairs["split"], "train")
    others = pairs.filter(pc.invert(is_train))
    others = others.set_column(others.schema.get_field_index("split"), "split", pa.repeat("val", len(others)))
    known = sorted(set(others["person_a"].to_pylist()))
    for name, some in (("search", known[::2]), ("test", known[1::2])):
        theirs = [pc.is_in(others[column], value_set=pa.array(some)) for column in ("person_a", "person_b")]
        chosen = pa.concat_tables([pairs.filter(is_train), others.filter(pc.and_(*theirs))])
        pq.write_table(chosen, home / f"{name}.parquet")


def search(home: Path, name: str, out: Path, steps: int, kills: tuple[int, ...]) -> float:
    """One search over trainings of `steps` steps, with five validations each; returns seconds, all starts included."""
    content = {**TRAINING, "space": SPACE, "search": {"trials": TRIALS, **SEARCHES[name]}}
    file = out.parent / f"{out.name}.yaml"
    file.write_text(yaml.safe_dump(content))
    options = [str(file), "--faces", str(home / "faces"), "--pairs", str(home / "search.parquet"), "--concurrent", "1",
               "--batches.max-steps", str(steps), "--validation.every", str(steps // 5)]  # fmt: skip
    start = time.perf_counter()
    for ended in kills:
        command = [sys.executable, "-m", "ray_jobs.tune", *options, "--out", str(out)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as driver:
            while driver.poll() is None and not _is_amid(out, ended):
                time.sleep(0.01)
            driver.kill()
        if (out / "manifest.json").exists():
            raise SystemExit(f"{name} was not killed after {ended} trials, it is complete.")
    run_job("tune", out, *options)
    return time.perf_counter() - start


def _is_amid(out: Path, ended: int) -> bool:
    """Whether that many trials have ended, and the next has a checkpoint."""
    records = list(out.glob("trials/*/trial.json"))
    return len(records) >= ended and any(out.glob(f"trials/{ended:04d}/checkpoints/*/done.json"))


def tested(home: Path, out: Path, number: int) -> float:
    """EER of a trial's best checkpoint on the people that were kept."""
    found = json.loads((out / "trials" / f"{number:04d}" / "trial.json").read_text())
    checkpoint = out / "trials" / f"{number:04d}" / "checkpoints" / f"step-{found['best_step']:08d}"
    given = {"faces": str(home / "faces"), "pairs": str(home / "test.parquet"), "start": str(checkpoint)}
    file = out.parent / f"test_{out.name}_{number}.yaml"
    file.write_text(yaml.safe_dump({**TRAINING, **given, "batches": {"size": 16, "max_steps": 1}}))
    return run_job("train", out.parent / f"tested_{out.name}_{number}", str(file)).manifest["first"]["eer"]


def what_counts(out: Path) -> list[dict[str, Any]]:
    """All trials without what the clock says."""
    return pq.read_table(out / "trials.parquet").drop_columns("seconds").to_pylist()


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--people", type=int, default=40)
    options.add_argument("--steps", type=int, default=40, help="of a trial, at most")
    chosen = options.parse_args()
    columns = ("search", "best EER", "EER of the recipe given", "unseen people: best", "given", "trials finished",
               "stopped early", "seconds", "killed twice")  # fmt: skip
    report = Report("tune_rendered", (__doc__ or "").splitlines()[0], columns)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        draw(home, chosen.people)
        given = ""
        for name in SEARCHES:
            outs = [home / f"{name}_{run}" for run in ("undisturbed", "killed")]
            taken = [search(home, name, out, chosen.steps, kills)
                     for out, kills in zip(outs, ((), KILLED_AFTER), strict=True)]  # fmt: skip
            facts = json.loads((outs[0] / "manifest.json").read_text())
            same = "same trials, same best" if what_counts(outs[0]) == what_counts(outs[1]) else "DIFFERENT"
            given = given or f"{tested(home, outs[0], 0):.1%}"  # the same in every search
            unseen = [f"{tested(home, outs[0], facts['best']['trial']):.1%}", given]
            ends = [str(facts["trials"][state]) for state in ("finished", "pruned")]
            seconds = f"{taken[0]:.0f}, killed twice {taken[1]:.0f}"
            report.add(
                name, f"{facts['best']['eer']:.1%}", f"{facts['base']['eer']:.1%}", *unseen, *ends, seconds, same
            )
    report.notes = [
        f"{chosen.people} rendered people, half to learn from, a quarter to choose by, a quarter kept; {TRIALS} trials "
        f"of {chosen.steps} steps at most, of 16 pairs; fresh tiny networks; the recipe given is configs/train.yaml's, "
        "as trial 0.",
        f"The driver was killed when {KILLED_AFTER[0]} and {KILLED_AFTER[1]} trials had ended and the next had a "
        "checkpoint. Compared are all columns of trials.parquet but `seconds`.",
        f"Searched: {', '.join(SPACE)}.",
        "EERs are of the validation pairs that the searches chose by, then of people that no trial has seen.",
    ]
    report.write(chosen.results)


if __name__ == "__main__":
    main()
