"""Eye distances and their bands; thresholds per band."""

import numpy as np
import pytest

from faceverify.align.geometry import ARCFACE_112
from faceverify.errors import UserError
from faceverify.forensics.bands import BANDS, TOO_SMALL, band_of, eye_distance
from faceverify.forensics.thresholds import ForensicThresholds, check_same_model

LIMITS = ForensicThresholds(model="m", values=(3.0, 2.0, None), bpcer=(0.01, 0.02, None), photos=(50, 60, 3), cost=0.05)


def test_eye_distance_follows_the_size_of_the_face_and_no_turn() -> None:
    eyes = ARCFACE_112[1] - ARCFACE_112[0]
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    faces = np.stack([ARCFACE_112, 2.5 * ARCFACE_112 @ turn.T + 40, np.full((5, 2), np.nan), np.zeros((5, 2))])
    found = eye_distance(faces)
    np.testing.assert_allclose(found[:2], np.hypot(*eyes) * np.array([1, 2.5]), rtol=1e-6)
    assert np.isnan(found[2:]).all()


def test_bands_begin_at_their_least_eye_distance() -> None:
    eyes = np.array([31.99, 32, 47.99, 48, 63.99, 64, 1e6, np.nan, 0], np.float32)
    assert band_of(eyes).tolist() == [TOO_SMALL, 0, 0, 1, 1, 2, 2, TOO_SMALL, TOO_SMALL]
    assert [band.name for band in BANDS] == ["32-48", "48-64", "64+"]


def test_a_photo_counts_as_manipulated_from_the_threshold_of_its_band_on() -> None:
    scores = np.array([3, 2.99, 2, 1.99, 9, 9, 9, np.nan], np.float32)
    eyes = np.array([40, 40, 50, 50, 80, 20, np.nan, 40], np.float32)
    manipulated, judged = LIMITS.judge(scores, eyes)
    assert manipulated.tolist() == [True, False, True, False, False, False, False, False]
    assert judged.tolist() == [True, True, True, True, False, False, False, False]


def test_thresholds_survive_json_and_belong_to_a_model() -> None:
    assert ForensicThresholds.from_dict(LIMITS.to_dict(), "file") == LIMITS
    check_same_model(LIMITS, "m")
    with pytest.raises(UserError, match="chosen for the model m"):
        check_same_model(LIMITS, "other")
    for wrong in ({}, {**LIMITS.to_dict(), "model": 3}, {**LIMITS.to_dict(), "bands": {}}, None):
        with pytest.raises(UserError, match="file: field 'forensic'"):
            ForensicThresholds.from_dict(wrong, "file")
