"""The calibrations that come with the package: of models and aligners that were measured here.

They are made by `benchmarks/calibrations.py`, on people that no test list of this project holds.
"""

from importlib.resources import files

from faceverify.evaluation.calibration import Calibration


def shipped(model: str) -> list[Calibration]:
    """The shipped calibrations of the model with this card digest, one per way of cutting out faces."""
    folder = files("faceverify") / "calibrations"
    texts = ((file.name, file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json"))
    every = (Calibration.from_json(text, name) for name, text in sorted(texts))
    return [calibration for calibration in every if calibration.model == model]
