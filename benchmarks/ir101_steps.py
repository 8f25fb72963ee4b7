"""The reference's recipe on IR-101 for 20 steps on CPUs, from a checkpoint in the layout that AdaFace publishes.

The weights are those of the golden recipe (tests/golden), so the file has every key, shape and prefix of
`adaface_ir101_webface12m.ckpt` and none of its knowledge: shown is that the configuration, the file and the network go
together, not what is learnt. Everything but the batch (for the time) is `configs/train.yaml`.
"""

import importlib.util
import json
import tempfile
from pathlib import Path

import torch

from benchmarks.ddp_overhead import prepare
from benchmarks.harness import ROOT, Report, parser, run_job, run_program

GOLDEN = ROOT / "tests" / "golden"


def published(folder: Path) -> Path:
    """A Lightning checkpoint: tensors under `state_dict`, prefix `model.`, a head beside them; and its card."""
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "recipe.py")
    assert spec is not None and spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    keys = json.loads((GOLDEN / "iresnet_keys.json").read_text())["ir_101"]
    weights = {f"model.{name}": torch.from_numpy(array) for name, array in recipe.weights(keys, 0).items()}
    file = folder / "adaface_ir101.ckpt"
    torch.save({"state_dict": weights | {"head.kernel": torch.zeros(512, 10)}, "epoch": 25}, file)
    run_program("-m", "ray_jobs.models", "card", str(file), "--colour", "BGR", "--mean", "127.5", "--std", "127.5")
    return file


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--steps", type=int, default=20)
    options.add_argument("--batch", type=int, default=2, help="pairs")
    chosen = options.parse_args()
    report = Report("ir101_steps", "IR-101, the recipe of configs/train.yaml.", ("what", "found"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        faces, pairs = prepare(work, 12)
        given = ["--faces", str(faces), "--pairs", str(pairs), "--start", str(published(work))]
        size = ["--batches.size", str(chosen.batch), "--batches.max-steps", str(chosen.steps)]
        size += ["--validation.pairs", "20", "--validation.replicates", "0", "--tell-every", "1"]
        run = run_job("train", work / "out", str(ROOT / "configs" / "train.yaml"), *given, *size, memory=True)
        lines = [json.loads(line) for line in (work / "out" / "metrics.jsonl").read_text().splitlines()]
        export = run_job("export", work / "onnx", "--checkpoint", str(work / "out"))
    losses = [line["loss"] for line in lines if "loss" in line]
    report.add("steps", f"{run.manifest['steps']}")
    report.add("seconds per step", f"{run.manifest['step_seconds']:.1f}")
    report.add("share of it spent waiting for data", f"{run.manifest['wait_share']:.1%}")
    report.add("loss of the first and the last step", f"{losses[0]:.3f}, {losses[-1]:.3f}")
    report.add("peak memory, all processes", f"{run.memory.tree / 2**30:.1f} GiB")
    report.add("exported to ONNX afterwards in", f"{export.seconds:.0f} s")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
