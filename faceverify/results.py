"""What `faceverify.Verifier` gives: faces, embeddings, and decisions about pairs.

A photo that cannot be used is no exception: its `status` says why, as in the tables of `score` (`no_face`, `truncated`,
...; all are in `faceverify.errors.Reason`), and every pair with it has the same status and no similarity.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from faceverify.decision import Threshold, in_words
from faceverify.forensics.bands import BANDS, LEAST_EYES, TOO_SMALL, band_of
from faceverify.forensics.thresholds import ForensicThresholds
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
    eyes: float | None = None
    """How far apart the eyes of a frontal face of this size are, in pixels of the photo; None without landmarks."""
    forensic: float | None = None
    """How much the photo looks manipulated, log-odds, higher = more; None without a forensic model."""

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
            "eyes": self.eyes,
            "forensic": self.forensic,
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
    limits: ForensicThresholds | None = None
    """From which forensic score on a photo counts as manipulated; None = forensic scores decide nothing, and the
    similarity alone does not tell a deepfake from the person."""

    @property
    def forensic(self) -> float | None:
        """The higher forensic score of the two photos; None without a forensic model."""
        return max((face.forensic for face in (self.face_a, self.face_b) if face.forensic is not None), default=None)

    @property
    def forensic_a(self) -> float | None:
        """The forensic score of the first photo, log-odds; None without a forensic model."""
        return self.face_a.forensic

    @property
    def forensic_b(self) -> float | None:
        """The forensic score of the second photo, log-odds; None without a forensic model."""
        return self.face_b.forensic

    @property
    def eyes_a(self) -> float | None:
        """The eye distance in pixels of the first photo; None without landmarks."""
        return self.face_a.eyes

    @property
    def eyes_b(self) -> float | None:
        """The eye distance in pixels of the second photo; None without landmarks."""
        return self.face_b.eyes

    @property
    def manipulated(self) -> tuple[Face, ...]:
        """Which of the two photos count as manipulated."""
        return tuple(face for face in self._faces if self.limits and self._judged(face)[0])

    @property
    def unjudged(self) -> tuple[Face, ...]:
        """Which of the two photos forensic scores say nothing of: too small, or no score; the similarity decides."""
        return tuple(face for face in self._faces if self.limits and not self._judged(face)[1])

    @property
    def _faces(self) -> tuple[Face, ...]:
        return () if self.similarity is None else (self.face_a, self.face_b)

    def _judged(self, face: Face) -> tuple[bool, bool]:
        assert self.limits is not None
        known = (np.array([np.nan if value is None else value]) for value in (face.forensic, face.eyes))
        manipulated, judged = self.limits.judge(*known)
        return bool(manipulated[0]), bool(judged[0])

    @property
    def accepted(self) -> bool | None:
        """Whether the two count as one person: similarity >= threshold, and neither photo counts as manipulated; None
        if there is no similarity or threshold."""
        if self.similarity is None or self.threshold is None:
            return None
        return self.threshold.accepts(self.similarity) and not self.manipulated

    @property
    def decision(self) -> str:
        """The decision and what it means, in words: `accepted; 1 in 1,000 pairs of strangers would be`."""
        if self.similarity is None:
            at_fault = next(face for face in (self.face_a, self.face_b) if not face.ok)
            return f"{self.status}: {at_fault.photo}"
        if self.threshold is None:
            return "not calibrated, nothing is decided"
        alike = self.threshold.accepts(self.similarity)
        found = [f"{one.photo} looks manipulated ({self._reason(one)})" for one in self.manipulated]
        if found:
            return f"refused; {'; '.join(found)}" + ("" if alike else "; and not alike enough")
        unseen = [f"{one.photo}: {_why_not_judged(one)}: similarity alone decides" for one in self.unjudged]
        return "; ".join([self.threshold.meaning(alike), *(unseen if alike else [])])

    def _reason(self, face: Face) -> str:
        """Why a photo counts as manipulated, in words."""
        assert self.limits is not None and face.eyes is not None and face.forensic is not None
        at = int(band_of(np.array([face.eyes]))[0])
        bpcer, value = self.limits.bpcer[at], self.limits.values[at]
        words = (
            f"forensic score {face.forensic:.1f}, threshold {value:.1f} for faces of {BANDS[at].name} pixels between "
            "the eyes"
        )
        return words if bpcer is None else f"{words}; {in_words(bpcer, self.limits.photos[at])} real photos would"

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
            "forensic_a": self.forensic_a,
            "forensic_b": self.forensic_b,
            "eyes_a": self.eyes_a,
            "eyes_b": self.eyes_b,
            "manipulated": [face.photo for face in self.manipulated],
            "not_judged": [face.photo for face in self.unjudged],
        }


def _why_not_judged(face: Face) -> str:
    """Why forensic thresholds say nothing of a photo, in words."""
    if face.eyes is None:
        return "not judged (no landmarks)"
    if band_of(np.array([face.eyes]))[0] == TOO_SMALL:
        return f"too small to judge ({face.eyes:.0f} pixels between the eyes; {LEAST_EYES:.0f} needed)"
    return (
        "not judged (no forensic score)" if face.forensic is None else "not judged (no threshold for faces this large)"
    )
