"""What `faceverify.Verifier` gives: faces, embeddings, and decisions about pairs.

A photo that cannot be used is no exception: its `status` says why, as in the tables of `score` (`no_face`, `truncated`,
...; all are in `faceverify.errors.Reason`), and every pair with it has the same status and no similarity.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from faceverify.decision import Threshold
from faceverify.scoring.similarity import OK


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The face that was taken of one photo, or why there is none."""

    photo: str
    """The path or address as it was given; `array 0` for the first photo if that was given as pixels."""
    status: str
    """`ok`, or the reason for which the photo cannot be used."""
    detail: str = ""
    """More about that reason, for people."""
    faces_found: int | None = None
    """How many faces the detector saw, whichever was taken; None where none are counted (aligners dfa, none)."""
    detection_score: float | None = None
    """The detector's confidence in the face that was taken, 0 to 1."""
    landmarks: np.ndarray | None = None
    """[5, 2] float32 (x, y) in pixels of the photo after its EXIF turn: image-left eye, image-right eye, nose,
    image-left mouth corner, image-right mouth corner."""
    embedding: np.ndarray | None = None
    """[D] float32, not normalised; None if the status is not `ok`."""
    crop: np.ndarray | None = None
    """[112, 112, 3] uint8 RGB, what the network saw. Kept by `verify`, by `embed` on request."""

    @property
    def ok(self) -> bool:
        """Whether the photo can be compared."""
        return self.status == OK

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold, without embedding and crop."""
        points = None if self.landmarks is None else self.landmarks.astype(float).round(2).tolist()
        return {
            "photo": self.photo,
            "status": self.status,
            "detail": self.detail,
            "faces_found": self.faces_found,
            "detection_score": self.detection_score,
            "landmarks": points,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """The embeddings of several photos, in their order; to NumPy it is its matrix (`np.save("e.npy", embeddings)`)."""

    faces: tuple[Face, ...]
    """One per photo."""
    matrix: np.ndarray
    """[N, D] float32, not normalised; a row of NaN for a photo that cannot be used."""

    @property
    def ok(self) -> np.ndarray:
        """[N] bool: which photos can be used."""
        return np.array([face.ok for face in self.faces], bool)

    def __len__(self) -> int:
        return len(self.faces)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.matrix, dtype=dtype, copy=copy)


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """What became of one pair of photos. `print` shows it in a line."""

    face_a: Face
    """The face in the first photo."""
    face_b: Face
    """The face in the second photo."""
    similarity: float | None
    """Cosine of the two embeddings, -1 to 1, higher is more alike: the number that `score` gives. None if the status is
    not `ok`."""
    status: str
    """`ok`, or the reason for which a photo cannot be used (that of the first, if neither can)."""
    threshold: Threshold | None
    """What decided; None if nothing does (the model is not calibrated)."""
    forensic: float | None = None
    """Reserved: how likely one of the photos is a deepfake, 0 to 1. No detector is built in yet, so it is always None;
    the similarity alone does not tell a deepfake from the person."""

    @property
    def accepted(self) -> bool | None:
        """Whether the two count as one person: similarity >= threshold; None if there is no similarity or threshold."""
        if self.similarity is None or self.threshold is None:
            return None
        return self.threshold.accepts(self.similarity)

    @property
    def decision(self) -> str:
        """The decision and what it means, in words: `accepted; 1 in 1,000 pairs of strangers would be`."""
        if self.similarity is None:
            at_fault = next(face for face in (self.face_a, self.face_b) if not face.ok)
            return f"{self.status}: {at_fault.photo}"
        if self.threshold is None:
            return "not calibrated, nothing is decided"
        return self.threshold.meaning(self.threshold.accepts(self.similarity))

    def __str__(self) -> str:
        return self.decision if self.similarity is None else f"{self.similarity:.4f}, {self.decision}"

    def to_dict(self) -> dict[str, Any]:
        """Values that JSON can hold; the faces by their names."""
        return {
            "photo_a": self.face_a.photo,
            "photo_b": self.face_b.photo,
            "similarity": self.similarity,
            "accepted": self.accepted,
            "status": self.status,
            "decision": self.decision,
            "forensic": self.forensic,
        }
