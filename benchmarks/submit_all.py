"""The jobs, one after another, sent by `ray job submit` to a head on this machine, from raw folders to a report.

Each job takes what the ones before it made; `pipeline` and `demo` then run them all again in one job. Shown are the
exit code that the job server kept, and the last line of the log. Failure, stop and going on are in
tests/e2e/test_submit.py.
"""

import tempfile
import time
from pathlib import Path

from benchmarks.harness import Report, parser
from benchmarks.job_server import JobServer

SMALL = ("--batches.max-steps", 10, "--batches.epochs", 100, "--batches.size", 16, "--validation.every", 5)
SMALL += ("--validation.replicates", 0, "--network.architecture", "tiny", "--network.dim", 64, "--network.bn", "batch")


def commands(at: Path) -> list[tuple[str, tuple[object, ...]]]:
    """Job and options, in the order of the recipe."""
    photos, faces, clean, fakes, pairs = (at / name for name in ("photos", "faces", "clean", "fakes", "pairs"))
    trained = at / "train"
    drawn = ("--layout", "rendered", "--source", at / "people", "--rendered.persons", 20, "--rendered.val-share", 0.2)
    given = ("--faces", faces, "--pairs", pairs)
    model = at / "onnx" / "model.onnx"
    return [
        ("ingest", (*drawn, "--out", photos)),
        ("align", ("--photos", photos, "--align.method", "annotated", "--out", faces)),
        ("pairs", ("--photos", photos, "--faces", faces, "--validation-share", 0.3, "--out", pairs)),
        ("train", (*given, *SMALL, "--out", trained)),
        ("export", ("--checkpoint", trained, "--out", at / "onnx")),
        ("embed", ("--faces", faces, "--model", model, "--out", at / "embeddings")),
        ("clean", ("--photos", photos, "--embeddings", at / "embeddings", "--out", clean)),
        ("review", (clean, "--html", at / "review.html")),
        ("fakes", ("--photos", clean, "--faces", faces, "--out", fakes)),
        ("score", ("--photos", photos, "--pairs", pairs / "pairs", "--model", model, "--align.method", "annotated",
                   "--out", at / "score")),
        ("evaluate", ("--scores", at / "score", "--out", at / "report")),
        ("tune", ("configs/tune.yaml", *given, *SMALL, "--search.trials", 2, "--out", at / "tune")),
        ("models", ("list",)),
        ("pipeline", ("--ingest.source", at / "people", "--ingest.layout", "rendered", "--ingest.rendered.persons", 20,
                      "--ingest.rendered.val-share", 0.2, "--align.align.method", "annotated", "--finetune.start",
                      trained, "--finetune.batches.max-steps", 10, "--out", at / "pipeline")),
        ("demo", ("configs/demo/demo.yaml", "--out", at / "demo")),
    ]  # fmt: skip


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    claim = "Every job by `ray job submit --working-dir .`. Target: every one ends with 0."
    report = Report("submit_all", claim, ("job", "exit code", "seconds", "last line of its log"))
    codes = []
    with JobServer() as server, tempfile.TemporaryDirectory() as folder:
        for job, options in commands(Path(folder)):
            start = time.perf_counter()
            server.submit(job, *options, name=job)
            code = server.details(job)["driver_exit_code"]
            last = server.logs(job).strip().splitlines()[-1].replace(folder, "OUT").replace(str(Path.home()), "~")
            report.add(job, str(code), f"{time.perf_counter() - start:.0f}", last)
            codes.append(code)
    report.notes.append(f"{codes.count(0)} of {len(codes)} jobs ended with 0.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
