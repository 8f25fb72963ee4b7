"""What the programs on real photos share: the models, alignments, and score followed by evaluate."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness import run_job
from faceverify.models.export import export_onnx
from faceverify.models.loading import load_module


@dataclass(frozen=True)
class Evaluated:
    """A scored and evaluated list of pairs: the folders, and the manifest and metrics as the jobs wrote them."""

    scores: Path
    evaluation: Path
    manifest: dict[str, Any]
    metrics: dict[str, Any]


def aligners(data: Path) -> dict[str, list[str]]:
    """Detectors with a rule for which face is taken -> the options of `score`."""
    weights = {"yunet": "face_detection_yunet_2026may.onnx", "scrfd": "scrfd_2.5g_bnkps.onnx"}
    return {
        f"{method}, {policy}": [
            *("--align.method", method),
            *("--align.weights", str(data / "models" / weights[method])),
            *("--align.policy", policy),
        ]
        for method, policy in (("yunet", "most_central"), ("yunet", "largest"), ("scrfd", "most_central"))
    }


def embedders(data: Path, work: Path) -> dict[str, Path]:
    """Models under test; the PyTorch one is also exported to ONNX, into `work`."""
    folder = data / "models"
    exported = work / "mobilefacenet_foamliu.onnx"
    export_onnx(*load_module(str(folder / "mobilefacenet_foamliu.pt")), exported)
    return {
        "mobilefacenet_y1, ONNX": folder / "mobilefacenet_y1.onnx",
        "mobilefacenet_foamliu, PyTorch": folder / "mobilefacenet_foamliu.pt",
        "mobilefacenet_foamliu, ONNX": exported,
    }


def verify(work: Path, photos: Path, pairs: Path, model: Path, align: list[str], calibration: str = "") -> Evaluated:
    """Run score and evaluate; the outputs go into the new folder `work`."""
    scores, evaluation = work / "scores", work / "evaluation"
    given = ["--photos", str(photos), "--pairs", str(pairs), "--model", str(model), *align]
    manifest = run_job("score", scores, *given).manifest
    judged = ["--calibration", calibration] if calibration else []
    run_job("evaluate", evaluation, "--scores", str(scores), *judged)
    return Evaluated(scores, evaluation, manifest, json.loads((evaluation / "metrics.json").read_text()))
