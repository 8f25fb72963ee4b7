"""Two photos or more in, a similarity and a decision for each pair out, at once: no cluster is started.

faceverify verify a.jpg b.jpg

Exit code: 0 every pair accepted; 4 a pair refused; 5 nothing refused, but a pair could not be compared or decided;
2 and 3 as of every job (a mistake in the command, storage).
"""

import dataclasses
import json
import sys
import textwrap
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from faceverify.align import AlignConfig
from faceverify.config import Input
from faceverify.errors import UserError
from faceverify.storage import check_writable, open_location
from faceverify.wording import count_of
from ray_jobs.engine.session import run_job

if TYPE_CHECKING:
    from faceverify.results import Face, Verification
    from faceverify.verifier import Verifier

REFUSED, UNDECIDED = 4, 5
ACROSS = 8  # faces in a row of the picture
WIDTH = 110  # characters of a line of text


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyConfig:
    """Compare photos with one another: the same numbers as score."""

    photos: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO PHOTO ...")] = ()
    """Two photos or more, paths or s3:// addresses; of more than two, every pair is compared."""
    model: Input = "sface"
    """Name of a published model (see `python -m ray_jobs.models list`), a weights file, or the output of train, tune,
    export or pipeline."""
    align: AlignConfig = field(default_factory=AlignConfig)
    calibration: Input = ""
    """calibration.json of `evaluate`. Without one: the one that ships with faceverify for this model and alignment,
    else the threshold that the model's authors publish, else nothing is decided."""
    threshold: float | None = None
    """A threshold of your own, a cosine from -1 to 1, of whose error rates nothing is claimed."""
    forensic: Input = ""
    """A forensic model, which says how much each photo looks manipulated: an ONNX file with its card, or the output of
    forensic. With a calibration that was made with it, both numbers decide."""
    forensic_threshold: float | None = None
    """A forensic score of your own, from which on a photo counts as manipulated, of which no error rate is claimed."""
    crops: str = ""
    """Write the faces that were compared to this PNG file, side by side."""
    json: bool = False
    """Print JSON."""


def run(config: VerifyConfig) -> int:
    """Compare and print; returns the exit code."""
    from faceverify.verifier import Verifier

    if len(config.photos) < 2:
        raise UserError(f"{count_of(len(config.photos), 'photo')} given: name two or more, `verify a.jpg b.jpg`.")
    if config.crops:
        if not config.crops.lower().endswith(".png"):
            raise UserError(f"crops is '{config.crops}': the picture is a PNG, so name a file that ends in .png.")
        check_writable(open_location(config.crops).parent, "crops")
    verifier = Verifier(
        config.model,
        config.align,
        calibration=config.calibration or None,
        threshold=config.threshold,
        forensic=config.forensic,
        forensic_threshold=config.forensic_threshold,
    )
    results = verifier.verify_all(config.photos)
    faces = [results[0].face_a, *(result.face_b for result in results[: len(config.photos) - 1])]
    if config.crops:
        write_crops(faces, config.crops)
    print(json.dumps(facts(verifier, faces, results), indent=2) if config.json else text(verifier, faces, results))
    if config.crops and not config.json:
        print(f"Faces: {config.crops}")
    decisions = {result.accepted for result in results}
    return REFUSED if False in decisions else UNDECIDED if None in decisions else 0


def facts(verifier: "Verifier", faces: "list[Face]", results: "list[Verification]") -> dict[str, Any]:
    """All that is known, as JSON holds it."""
    threshold = verifier.threshold
    return {
        "model": {"name": verifier.card.name, "digest": verifier.card.digest},
        "crop": verifier.crop,
        "threshold": threshold.to_dict() if threshold else None,
        "photos": [face.to_dict() for face in faces],
        "pairs": [result.to_dict() for result in results],
    }


def text(verifier: "Verifier", faces: "list[Face]", results: "list[Verification]") -> str:
    """The same for people: a table of pairs, then what the decisions rest on, then what to know of the photos."""
    rows = [("photo", "photo", "similarity", "decision")]
    for one in results:
        similarity = "-" if one.similarity is None else f"{one.similarity:.4f}"
        rows.append((one.face_a.photo, one.face_b.photo, similarity, one.decision))
    wide = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{wide[0]}}  {b:<{wide[1]}}  {number:>{wide[2]}}  {words}" for a, b, number, words in rows]
    why = f"Threshold: {verifier.threshold}" if verifier.threshold else verifier.uncalibrated
    lines += ["", *textwrap.wrap(why, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)]
    lines.append(f"Model: {verifier.card.name}, faces by {verifier.crop['aligner']}")
    for face in faces:
        if not face.ok:
            lines.append(f"{face.photo}: {face.status}" + (f", {face.detail}" if face.detail else ""))
        elif (face.faces_found or 0) > 1:
            lines.append(
                f"{face.photo}: {face.faces_found} faces found, the {verifier.crop['policy']} one was compared"
            )
        if face.forensic is not None:
            lines.append(f"{face.photo}: forensic score {face.forensic:.2f}, {face.eyes:.0f} pixels between the eyes")
    if verifier.limits is None and any(face.forensic is not None for face in faces):
        lines.append("Forensic scores decide nothing here: that needs a calibration made with the forensic model.")
    return "\n".join(lines)


def write_crops(faces: "list[Face]", file: str) -> None:
    """The faces in the order of the photos, ACROSS in a row; grey where there is none."""
    import numpy as np

    from faceverify.images import encode_png

    across = min(len(faces), ACROSS)
    side = max(face.crop.shape[0] for face in faces if face.crop is not None)
    picture = np.full((-(-len(faces) // across) * side, across * side, 3), 128, np.uint8)
    for number, face in enumerate(faces):
        if face.crop is not None:
            top, left = number // across * side, number % across * side
            picture[top : top + side, left : left + side] = face.crop
    open_location(file).write_bytes(encode_png(picture))


def ordered(arguments: Sequence[str]) -> list[str]:
    """The command line with its photos behind its options, so that they may stand anywhere; a YAML file comes first."""
    hints = typing.get_type_hints(VerifyConfig)
    flags = {
        f"--{no}{one.name}" for one in dataclasses.fields(VerifyConfig) if hints[one.name] is bool for no in ("", "no-")
    }
    flags |= {"-h", "--help"}
    rest = list(arguments)
    first = [rest.pop(0)] if rest and rest[0].endswith((".yaml", ".yml")) else []
    options, photos = list[str](), list[str]()
    while rest:
        word = rest.pop(0)
        if word == "--":
            photos, rest = photos + rest, []
        elif not word.startswith("-"):
            photos.append(word)
        else:
            options.append(word)
            if word not in flags and "=" not in word and rest:
                options.append(rest.pop(0))
    return [*first, *options, *(["--", *photos] if photos else [])]


def main() -> int:
    """Entry point."""
    sys.argv[1:] = ordered(sys.argv[1:])
    decided: list[int] = []
    code = run_job("verify", VerifyConfig, lambda config: decided.append(run(config)), __doc__ or "", ())
    return code or decided[0]


if __name__ == "__main__":
    sys.exit(main())
