"""A trained network in, ONNX files out: kept only if they give the embeddings and the EER that PyTorch gives.

python -m ray_jobs.export configs/export.yaml --checkpoint runs/train --faces runs/all_faces --pairs runs/pairs \
    --out runs/export
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceverify import tables
from faceverify.config import Input, JobConfig, plan_of
from faceverify.errors import FaceverifyError, UserError
from faceverify.faces import Stopwatch
from faceverify.inputs import fingerprint, open_table
from faceverify.models.card import card_path
from faceverify.run_folder import RunFolder
from faceverify.storage import Location, check_readable, check_writable, open_location
from ray_jobs.engine.dry_run import is_dry
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import run_job

if TYPE_CHECKING:
    from faceverify.models.export import Exported
    from faceverify.models.parity import PairFaces
    from faceverify.training.checkpoints import LoadedNetwork
    from faceverify.training.material import Pairs

FULL, HALF = "model.onnx", "model.fp16.onnx"
OUTPUTS = tuple(place.name for name in (FULL, HALF) for place in (Path(name), card_path(Path(name))))


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportConfig(JobConfig):
    """Turn a trained network into ONNX files, and prove that they are the same network."""

    checkpoint: Input = ""
    """A checkpoint, the output of train (its best checkpoint by EER), a weights file, or a name of
    `faceverify models list`. Required."""
    half: bool = True
    """Write model.fp16.onnx too: half the size, made for GPUs."""
    faces: Input = ""
    """A faces table to compare the EER on, with `pairs`; without it embeddings alone are compared."""
    pairs: Input = ""
    """A pairs table to compare the EER on, with `faces`."""
    split: str = "val"
    """Which split of the pairs."""
    max_pairs: int = 2000
    """So many of them at most, each kind in its share; 0 = all."""
    seed: int = 0
    """Of the choice of pairs."""

    def __post_init__(self) -> None:
        if self.max_pairs < 0:
            raise UserError(f"max_pairs is {self.max_pairs}: give a number of pairs, or 0 for all.")


@dataclass(frozen=True)
class Inputs:
    """What was found at the places that the configuration names: the network, files of the faces, chosen pairs."""

    taken: "LoadedNetwork"
    faces: list[Location]
    pairs: "Pairs | None"
    digests: dict[str, str]


def run(config: ExportConfig) -> None:
    """Check, export, prove, commit."""
    out = open_location(config.out)
    inputs = check_inputs(config)
    check_writable(out, "out")
    card = inputs.taken.card
    print(f"Network: {card.name} ({card.architecture}, {card.dim} numbers, {card.colour}, card {card.digest[:12]})")
    print(f"Taken from {inputs.taken.description}")
    plan = plan_of("export", config, inputs.digests)
    if is_dry(config, out, plan, OUTPUTS):
        return
    folder = RunFolder(out, plan, OUTPUTS, config.overwrite)
    if not folder.complete:
        finish(config, inputs, folder)
    summarise(folder)


def check_inputs(config: ExportConfig) -> Inputs:
    """Everything that can be checked before work starts.

    Raises:
        UserError: no network, or not of its card; tables missing or wrong.
        PlatformError: storage refuses.
    """
    if bool(config.faces) != bool(config.pairs):
        missing, given = ("--pairs", "--faces") if config.faces else ("--faces", "--pairs")
        raise UserError(f"{given} is given without {missing}; comparing the EER needs both.")
    places = {name: open_location(uri) for name in ("faces", "pairs") if (uri := getattr(config, name))}
    for name, place in places.items():
        check_readable(place, name)
    from faceverify.training.checkpoints import load_trained

    taken = load_trained(config.checkpoint)
    digests = {"checkpoint": taken.card.digest} | {name: fingerprint(place) for name, place in places.items()}
    if not places:
        return Inputs(taken, [], None, digests)
    from faceverify.aligned import remedy_for_pairs, require_crop
    from faceverify.training.material import choose_pairs

    faces = open_table(places["faces"], "faces", tables.FACES, "faces")
    pairs = open_table(places["pairs"], "pairs", tables.PAIRS, "pairs")
    require_crop(faces, taken.card.shown, "faces")
    wanted = config.split, config.max_pairs, config.seed
    chosen = choose_pairs(faces, pairs, *wanted, lambda: remedy_for_pairs(config.pairs, config.faces))
    return Inputs(taken, faces, chosen, digests)


def finish(config: ExportConfig, inputs: Inputs, folder: RunFolder) -> None:
    """All the work; where a file is not proven, nothing of it remains."""
    from faceverify.training.batches import decode_pairs

    clock = Stopwatch()
    with nothing_kept(folder), tempfile.TemporaryDirectory(dir=folder.work.path if folder.out.is_local else None) as at:
        with clock("export"):
            exports = export(config, inputs.taken, Path(at))
        facts = {e.path.name: described(e) for e in exports}
        compared = {}
        if inputs.pairs is not None:
            with clock("compare"):
                compared = compare(inputs.taken, exports, decode_pairs(inputs.faces, inputs.pairs), facts)
        for exported in exports:
            publish(exported, folder.out)
    folder.finish(
        {
            "job": "export",
            "config": asdict(config),
            "taken": inputs.taken.description,
            "model": json.loads(exports[0].card.to_json()),
            "files": facts,
            "compared": compared,
            "rows_in": {name: compared[name] for name in ("pairs", "faces") if name in compared},
            "rows_out": {"files": len(facts)},
            "rejects": {},
            "seconds": clock.seconds,
        }
    )


@contextmanager
def nothing_kept(folder: RunFolder) -> Iterator[None]:
    """Around the work: a refusal ends the run as if it had never begun."""
    try:
        yield
    except FaceverifyError:
        folder.release()
        folder.work.delete()
        raise


def export(config: ExportConfig, taken: "LoadedNetwork", place: Path) -> list["Exported"]:
    """Write the files into a local folder, each compared with PyTorch."""
    from faceverify.models.export import export_half, export_onnx

    full = export_onnx(taken.network, taken.card, place / FULL)
    return [full, export_half(taken.network, full, place / HALF)] if config.half else [full]


def compare(
    taken: "LoadedNetwork", exports: list["Exported"], pairs: "PairFaces", facts: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """Compare the EERs, and note them in `facts`; what was compared on comes back."""
    from faceverify.models.export import prove_eer

    runs = 1 + sum(exported.runs for exported in exports)
    progress = Progress("faces", runs * len(pairs.faces))
    truth, found = prove_eer(taken.network, exports, pairs, progress.add)
    progress.finish()
    for exported, one in zip(exports, found, strict=True):
        file = facts[exported.path.name]
        file |= {"eer": one.eer, "eer_allowed": exported.tolerance.of_eer(pairs.fewest)}
        file["deviation"] = max(file["deviation"], one.deviation)
    return {"pairs": len(pairs.label), "faces": len(pairs.faces), "eer": truth}


def described(exported: "Exported") -> dict[str, Any]:
    """What the manifest says of a file."""
    facts = {"sha256": exported.card.sha256, "digest": exported.card.digest, "bytes": exported.path.stat().st_size}
    return {**facts, "deviation": exported.max_deviation, "deviation_allowed": exported.tolerance.deviation}


def publish(exported: "Exported", out: Location) -> None:
    """Put a file and its card where they belong."""
    (out / exported.path.name).write_bytes(exported.path.read_bytes())
    (out / card_path(exported.path).name).write_bytes(exported.card.to_json().encode())


def summarise(folder: RunFolder) -> None:
    """The last lines: how near each file is, on what, where."""
    facts = folder.manifest()
    compared = facts["compared"]
    for name, file in facts["files"].items():
        eer = f"; EER {file['eer']:.2%}, PyTorch's {compared['eer']:.2%}" if compared else ""
        near = f"unit embeddings within {file['deviation']:.1e} of PyTorch's ({file['deviation_allowed']:.0e} allowed)"
        print(f"{name}, {file['bytes'] / 1e6:.1f} MB: {near}{eer}.")
    print(
        f"EER compared over {compared['pairs']:,} pairs of {compared['faces']:,} faces."
        if compared
        else "The EER was not compared: that needs --faces and --pairs."
    )
    print(f"Use it: score --model {folder.out / FULL}")
    print(f"Output: {folder.out}")


def main() -> int:
    """Entry point."""
    return run_job("export", ExportConfig, run, __doc__ or "", ("checkpoint", "out"))


if __name__ == "__main__":
    sys.exit(main())
