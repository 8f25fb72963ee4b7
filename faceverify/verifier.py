"""Verification in Python, without Ray: photos in, similarities and decisions out, the same numbers as `score`.

verifier = Verifier("sface")
result = verifier.verify("a.jpg", "b.jpg")     # result.similarity, result.accepted, print(result)
embeddings = verifier.embed(["a.jpg", "b.jpg", "c.jpg"])
similarities = verifier.compare(embeddings)    # [3, 3]
"""

import json
import os
import typing
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from faceverify.align import AlignConfig, FoundFace, Method, Policy, build
from faceverify.align.cards import crops_for, look_side
from faceverify.decision import find_threshold
from faceverify.errors import BadData, Reason, UserError
from faceverify.evaluation.calibration import Calibration
from faceverify.faces import GROUP_PHOTOS, Stopwatch, bad_embedding, decode_each, embed_each, find_each
from faceverify.forensics.bands import eye_distance
from faceverify.forensics.thresholds import ForensicThresholds, check_same_model
from faceverify.images import DEFAULT_LIMITS, ImageLimits, check_size
from faceverify.images.decoded import DecodedPhoto
from faceverify.models import EngineConfig, load_engine
from faceverify.provenance import describe_crop
from faceverify.results import Embeddings, Face, Verification
from faceverify.scoring.similarity import OK, cosines
from faceverify.storage import Location, open_location
from faceverify.vectors import unit

if TYPE_CHECKING:
    from faceverify.forensics.model import ForensicModel

Photo: TypeAlias = str | os.PathLike[str] | np.ndarray
"""A path, an s3:// address, or pixels: RGB uint8 [height, width, 3] (OpenCV's `imread` gives BGR: turn it)."""

GROUP_BYTES = 100_000_000  # decoded photos are handed on before they fill the memory
# Of a photo that the user named: no data is bad, the name is.
_MISNAMED = {
    Reason.MISSING: "there is no such file",
    Reason.NOT_A_FILE: "it is a folder, a pipe or a device",
    Reason.BAD_NAME: "no file can be called so",
}


class Verifier:
    """A recogniser, an aligner and a threshold, loaded once. Not to be shared by threads: give each its own.

    Args:
        model: name of a published model (`faceverify models list`), a weights file (.onnx, .pt, .safetensors, ...), an
            s3:// address, or the output folder of `train`, `export`, ...
        aligner: what finds the face: "yunet", "scrfd", "retinaface", "mtcnn", "dfa", "none" (the photos are aligned
            faces); or an `AlignConfig` with all its options.
        weights: the aligner's, a name or a path; empty = the method's own default.
        policy: which of several faces in a photo is taken: "most_central" (the default), "largest", "refuse".
        calibration: a `calibration.json` of `evaluate`, or one already read. Without it: the one that ships with the
            package for this model and this way of cutting out faces, else the threshold that the model's authors
            publish, else nothing is decided.
        threshold: a cosine of your own instead, -1 to 1; nothing is claimed of its error rates.
        forensic: a forensic model, which says how much each photo looks manipulated: an ONNX file with its card, or the
            output folder of `forensic`. Its thresholds are those of the calibration.
        forensic_threshold: a forensic score of your own instead, from which on a photo counts as manipulated.
        engine: runtime, hardware, threads.
        images: what a photo may be at most and must be at least.

    Attributes:
        card: what the model is and how it is fed.
        crop: how faces are cut out: the aligner with the digest of its weights, and its options.
        threshold: the `Threshold` that decides, or None.
        uncalibrated: why there is none, and what to do; empty if there is one.
        limits: from which forensic score on a photo counts as manipulated; None = forensic scores decide nothing.

    Raises:
        UserError: weights that are missing or of another network, a calibration of another model or crop, an option
            out of range.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = "sface",
        aligner: Method | AlignConfig = "yunet",
        weights: str | os.PathLike[str] = "",
        *,
        policy: Policy | None = None,
        calibration: str | os.PathLike[str] | Calibration | None = None,
        threshold: float | None = None,
        forensic: str | os.PathLike[str] = "",
        forensic_threshold: float | None = None,
        engine: EngineConfig | None = None,
        images: ImageLimits = DEFAULT_LIMITS,
    ) -> None:
        if isinstance(calibration, str | os.PathLike):
            calibration = Calibration.read(open_location(os.fspath(calibration))) if os.fspath(calibration) else None
        config = _alignment(aligner, os.fspath(weights), policy)
        self._engine = load_engine(os.fspath(model), engine)
        [self._shown] = crops_for(config, self._engine.card.shown)
        self._forensic = _forensic_model(os.fspath(forensic), config, engine)
        self.limits = _limits(self._forensic, calibration, forensic_threshold)
        self._crops = tuple(dict.fromkeys((self._shown, *([self._forensic.crop] if self._forensic else []))))
        self._look_side = look_side(config, self._crops)
        self._aligner = build(config)
        self._images = images
        self.card = self._engine.card
        self._crop = describe_crop(config, self._aligner.name, self._shown)
        self.crop: dict[str, Any] = json.loads(self._crop)
        self.threshold, self.uncalibrated = find_threshold(self.card, self.crop, calibration, threshold)

    def verify(self, a: Photo, b: Photo) -> Verification:
        """Compare two photos.

        Raises:
            UserError: there is no such file, or an array is not RGB uint8 [H, W, 3].
            PlatformError: storage refuses.
        """
        return self.verify_all([a, b])[0]

    def verify_all(self, photos: Sequence[Photo]) -> list[Verification]:
        """Compare each photo with every later one: N (N - 1) / 2 pairs, each photo embedded once.

        Raises:
            UserError, PlatformError: see `verify`; fewer than two photos.
        """
        if len(photos) < 2:
            raise UserError(f"{'1 photo makes' if photos else 'No photos make'} no pair: give two or more.")
        embeddings = self.embed(photos, crops=True)
        units, faces = unit(embeddings.matrix), embeddings.faces
        first, second = np.triu_indices(len(faces), 1)
        similarities = cosines(lambda rows: units[rows], first, second)
        return [
            self._verification(faces[a], faces[b], similarity)
            for a, b, similarity in zip(first, second, similarities, strict=True)
        ]

    def _verification(self, a: Face, b: Face, similarity: np.float32) -> Verification:
        status = next((face.status for face in (a, b) if not face.ok), OK)
        return Verification(a, b, float(similarity) if status == OK else None, status, self.threshold, self.limits)

    def embed(self, photos: Sequence[Photo], *, crops: bool = False) -> Embeddings:
        """The embedding of each photo, in order. A photo without a usable face has a status and a row of NaN.

        Args:
            photos: paths, s3:// addresses, or arrays; mixed as you like.
            crops: keep each face as the network was shown it (112x112: 37 kB) in `Embeddings.faces`.

        Raises:
            UserError, PlatformError: see `verify`.
        """
        if isinstance(photos, str | os.PathLike | np.ndarray):
            raise UserError("embed takes a list of photos, not one: write [photo].")
        faces = [face for names, pixels in self._groups(photos) for face in self._faces(names, pixels, crops)]
        matrix = np.full((len(faces), self.card.dim), np.nan, np.float32)
        for row, face in zip(matrix, faces, strict=True):
            if face.embedding is not None:
                row[:] = face.embedding
        return Embeddings(tuple(faces), matrix)

    def compare(self, a: Embeddings | np.ndarray, b: Embeddings | np.ndarray | None = None) -> np.ndarray:
        """Similarities of all rows of `a` with all rows of `b`, or with one another if `b` is left out.

        Args:
            a: embeddings [N, D], of any length.
            b: embeddings [M, D].

        Returns:
            [N, M] float32 cosines, -1 to 1, equal to those of `score` within 1e-6; NaN for a row that has NaN or is
            zero.

        Raises:
            UserError: not two matrices of D columns.
        """
        one = self._units(a)
        other = one if b is None else self._units(b)
        return np.clip(one @ other.T, -1, 1)

    def _units(self, given: Embeddings | np.ndarray) -> np.ndarray:
        matrix = np.asarray(given, np.float32)
        if matrix.ndim != 2 or matrix.shape[1] != self.card.dim:
            raise UserError(f"compare takes embeddings [N, {self.card.dim}], not {list(matrix.shape)}.")
        units = unit(matrix)
        units[~units.any(axis=1)] = np.nan
        return units

    def _groups(self, photos: Sequence[Photo]) -> Iterator[tuple[list[str], list[DecodedPhoto | BadData]]]:
        """Names and decoded photos in order, a few at a time; every name is looked at before the first is read."""
        given = [_named(photo, number) for number, photo in enumerate(photos)]
        names, decoded = list[str](), list[DecodedPhoto | BadData]()
        places: list[str | None] = [place.uri for _, place in given if isinstance(place, Location)]
        read = decode_each(places, self._images, "stat", Stopwatch(), self._look_side)
        for name, place in given:
            picture = next(read)[0] if isinstance(place, Location) else self._checked(place)
            if isinstance(picture, BadData) and picture.reason in _MISNAMED:
                raise _no_photo(name, picture.reason)
            names.append(name)
            decoded.append(picture)
            size = sum(one.pixels.nbytes for one in decoded if isinstance(one, DecodedPhoto))
            if len(names) == GROUP_PHOTOS or size > GROUP_BYTES:
                yield names, decoded
                names, decoded = [], []
        yield names, decoded

    def _checked(self, pixels: np.ndarray) -> DecodedPhoto | BadData:
        """Pixels within the limits of a photo, or why they are not."""
        try:
            check_size(pixels.shape[0], pixels.shape[1], self._images)
        except BadData as fault:
            return fault
        return DecodedPhoto(np.ascontiguousarray(pixels))

    def _faces(self, names: list[str], photos: list[DecodedPhoto | BadData], keep: bool) -> list[Face]:
        """What became of each of some decoded photos."""
        found = find_each(photos, [None] * len(photos), self._aligner, crops=self._crops)
        good = [one for one in found if not isinstance(one, BadData)]
        images = [crops[0] for _, crops in good]
        embedded = zip(*embed_each(np.stack(images), self._engine), strict=True) if images else iter(())
        judged = iter(self._judged(good))
        faces = []
        for name, one in zip(names, found, strict=True):
            if isinstance(one, BadData):
                faces.append(Face(name, one.reason.value, one.detail))
                continue
            face, [image, *_] = one
            vector, norm, usable = next(embedded)
            eyes, score = next(judged)
            fault = None if usable else bad_embedding(norm)
            faces.append(
                Face(
                    name,
                    OK if fault is None else fault.reason.value,
                    "" if fault is None else fault.detail,
                    faces_found=face.faces_found,
                    detection_score=face.score,
                    landmarks=face.landmarks,
                    embedding=vector if usable else None,
                    crop=image if keep else None,
                    eyes=eyes,
                    forensic=score,
                )
            )
        return faces

    def _judged(self, found: Sequence[tuple[FoundFace, list[np.ndarray]]]) -> list[tuple[float | None, float | None]]:
        """Eye distance and forensic score of each face; None where there are no landmarks, or no model."""
        points = [np.full((5, 2), np.nan) if face.landmarks is None else face.landmarks for face, _ in found]
        eyes = eye_distance(np.array(points)) if points else np.zeros(0, np.float32)
        known = [None if np.isnan(value) else float(value) for value in eyes]
        if self._forensic is None or not found:
            return [(value, None) for value in known]
        scores = self._forensic.scores(np.stack([crops[-1] for _, crops in found]), eyes)
        return [
            (value, float(score) if np.isfinite(score) else None) for value, score in zip(known, scores, strict=True)
        ]


def _forensic_model(forensic: str, align: AlignConfig, engine: EngineConfig | None) -> "ForensicModel | None":
    if not forensic:
        return None
    if align.method == "none":
        raise UserError("forensic needs landmarks, and the aligner 'none' finds none: take another.")
    from faceverify.forensics.model import ForensicModel, forensic_file

    return ForensicModel(forensic_file(forensic), engine or EngineConfig())


def _limits(
    model: "ForensicModel | None", calibration: Calibration | None, own: float | None
) -> ForensicThresholds | None:
    """From which forensic score on a photo counts as manipulated.

    Raises:
        UserError: there are thresholds and no model, or they are of another.
    """
    known = calibration.forensic if calibration else None
    if model is None:
        if own is not None or known:
            whose = f"forensic_threshold {own:g}" if own is not None else "the calibration's forensic thresholds"
            raise UserError(f"{whose} cannot be used without a forensic model: give it as forensic.")
        return None
    if own is not None:
        return ForensicThresholds.of_own(own, model.card.digest)
    if known:
        check_same_model(known, model.card.digest)
    return known


def _alignment(aligner: Method | AlignConfig, weights: str, policy: Policy | None) -> AlignConfig:
    if isinstance(aligner, AlignConfig):
        config = aligner
    elif aligner in typing.get_args(Method):
        config = AlignConfig(method=aligner)
    else:
        raise UserError(f"aligner is {aligner!r}: give one of {', '.join(typing.get_args(Method))}.")
    if config.method == "annotated":
        raise UserError("aligner is 'annotated', which needs a photos table with landmarks: use `faceverify score`.")
    if policy is not None:
        if policy not in typing.get_args(Policy):
            raise UserError(f"policy is {policy!r}: give one of {', '.join(typing.get_args(Policy))}.")
        config = replace(config, policy=policy)
    return replace(config, weights=weights) if weights else config


def _named(photo: Photo, number: int) -> tuple[str, Location | np.ndarray]:
    """What a photo is called, and where it is or its pixels.

    Raises:
        UserError: there is no such file, or the array is no picture.
    """
    if isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
            raise UserError(f"array {number} is {photo.dtype} {list(photo.shape)}: give RGB uint8 [height, width, 3].")
        return f"array {number}", photo
    if not isinstance(photo, str | os.PathLike):
        raise UserError(f"photo {number} is of type {type(photo).__name__}: give a path, an s3:// address or an array.")
    name = os.fspath(photo)
    place = open_location(name)
    if place.is_local and not os.path.lexists(place.path):
        raise _no_photo(name, Reason.MISSING)
    return name, place


def _no_photo(name: str, reason: Reason) -> UserError:
    return UserError(f"'{name}' is no photo: {_MISNAMED[reason]}; check the path.")
