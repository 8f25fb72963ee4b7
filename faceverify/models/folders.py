"""Which weights file a folder stands for: a checkpoint, or what train, tune, export or pipeline made.

checkpoint          FOLDER/model.safetensors, its card beside it
output of train     FOLDER/checkpoints/*: the checkpoint of the best EER
output of tune      the same of its best trial
output of export    FOLDER/model.onnx
output of pipeline  FOLDER/export/model.onnx; to train on, what its step `train` reached
"""

import json

from faceverify.errors import UserError
from faceverify.models import registry
from faceverify.models.files import SUFFIXES
from faceverify.run_folder import MANIFEST
from faceverify.storage import Location, open_location

WEIGHTS, DONE, EXPORTED = "model.safetensors", "done.json", "model.onnx"


def weights_file(model: str) -> str:
    """The weights file that a user's `--model` means: a folder is replaced by the file in it, all else comes back.

    Raises:
        UserError: the folder holds no network, or a training without a validated checkpoint.
    """
    if not model or model in registry.entries() or model.lower().endswith(SUFFIXES):
        return model
    place = open_location(model)
    if not place.is_dir():
        return model
    for file in (place / EXPORTED, place / "export" / EXPORTED):
        if file.is_file():
            return file.uri
    checkpoint = checkpoint_in(place)
    if checkpoint is None:
        raise UserError(
            f"There is no network in the folder '{model}': give a weights file, a checkpoint, or the output of train, "
            "tune, export or pipeline."
        )
    return (checkpoint / WEIGHTS).uri


def checkpoint_in(place: Location) -> Location | None:
    """The checkpoint that a folder is or holds, by the rules above; None if there is none.

    Raises:
        UserError: a training's folder without a judged checkpoint.
    """
    if (place / DONE).is_file() or (place / WEIGHTS).is_file():
        return place
    if (place / "checkpoints").exists():
        return _best(place)
    if (place / "trials").exists() and (place / MANIFEST).is_file():
        trial = json.loads((place / MANIFEST).read_bytes())["best"]["trial"]
        return _best(place / "trials" / f"{trial:04d}")
    return _best(place / "train") if (place / "train" / "checkpoints").exists() else None


def _best(training: Location) -> Location:
    """The complete checkpoint of the lowest EER, the earliest of equals."""
    folder = training / "checkpoints"
    judged = []
    for entry in folder.files():
        name, _, file = entry.path.partition("/")
        if file == DONE:
            facts = json.loads((folder / entry.path).read_bytes())
            if "eer" in facts:
                judged.append((facts["eer"], facts["step"], name))
    if not judged:
        raise UserError(f"{training} is a training without a validated checkpoint; let it go on, or give another.")
    return folder / min(judged)[2]
