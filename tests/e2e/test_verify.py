"""`faceverify verify` and `Verifier` give the numbers, decisions and reasons that `score` gives."""

import json
from itertools import combinations
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from e2e.harness import ONE_WORKER, People, Run
from stand_ins import write_detector

from faceverify import Verifier
from faceverify.storage import open_location


def compare_with_score(run: Run, root: Path, photos: list[str], options: list[str], tmp_path: Path) -> list[dict]:
    """Score all pairs of the photos in a job, verify them without; the rows of both must be the same."""
    lines = ["photo_a,photo_b", *(f"{a},{b}" for a, b in combinations(photos, 2))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
    named = ["--photos", root, "--pairs", tmp_path / "pairs.csv", "--out", tmp_path / "out", "--max-failed", 1]
    assert run("score", *named, *options, *ONE_WORKER).code == 0
    scored = pq.read_table(tmp_path / "out" / "scores").to_pylist()
    ended = run("verify", *(root / photo for photo in photos), *options, "--json")
    assert ended.code in (0, 4, 5) and not ended.err, ended.err
    facts = json.loads(ended.out)
    for row, pair in zip(scored, facts["pairs"], strict=True):
        assert (str(root / row["photo_a"]), str(root / row["photo_b"])) == (pair["photo_a"], pair["photo_b"])
        assert pair["status"] == row["status"] and pair["accepted"] == row["accepted"]
        assert pair["similarity"] == (None if row["status"] != "ok" else pytest.approx(row["similarity"], abs=1e-6))
    assert json.loads(scored[0]["scored_with"]) == {"model": facts["model"]["digest"], "crop": facts["crop"]}
    return facts["pairs"]


def test_of_drawn_people(run: Run, people: People, tiny: Path, tmp_path: Path) -> None:
    write_detector(tmp_path / "detector.onnx")
    names = pq.read_table(people.photos)["photo"].to_pylist()[:6]
    root = tmp_path / "photos"
    for number, name in enumerate(names):
        open_location(str(root / f"{number}.jpg")).write_bytes((people.root / name).read_bytes())
    (root / "notes.jpg").write_bytes(b"no picture")
    options = ["--model", tiny, "--align.weights", tmp_path / "detector.onnx"]
    photos = [*(f"{number}.jpg" for number in range(6)), "notes.jpg"]
    made = compare_with_score(run, root, photos, options, tmp_path)
    assert [pair["status"] for pair in made].count("ok") == 15


def test_of_real_photos(run: Run, shared_data: Path, tmp_path: Path) -> None:
    """With a calibration that ships: score is given its file."""
    models, view = shared_data / "models", shared_data / "lfw" / "view1" / "images"
    model, detector = models / "mobilefacenet_y1.onnx", models / "face_detection_yunet_2026may.onnx"
    folder = next(path for path in sorted(view.iterdir()) if len(list(path.iterdir())) > 3)
    photos = [str(path.relative_to(shared_data)) for path in sorted(folder.iterdir())[:4]]
    photos += ["odd/two_faces.jpg", "odd/many_faces.jpg", "README.md"]
    calibration = Verifier(model, "yunet", detector).threshold.calibration
    (tmp_path / "calibration.json").write_text(calibration.to_json())
    options = ["--model", model, "--align.weights", detector, "--calibration", tmp_path / "calibration.json"]
    made = compare_with_score(run, shared_data, photos, options, tmp_path)
    assert {pair["accepted"] for pair in made} == {True, False, None}
    again = Verifier(model, "yunet", detector).verify_all([shared_data / photo for photo in photos])
    assert [one.similarity for one in again] == [pair["similarity"] for pair in made]
    assert [one.accepted for one in again] == [pair["accepted"] for pair in made]


def test_of_a_network_in_pytorch(run: Run, shared_data: Path, tmp_path: Path) -> None:
    models, view = shared_data / "models", shared_data / "lfw" / "view1" / "images"
    photos = [str(path.relative_to(view)) for path in sorted(view.glob("*/*.jpg"))[:4]]
    detector = ["--align.method", "scrfd", "--align.weights", models / "scrfd_2.5g_bnkps.onnx"]
    compare_with_score(run, view, photos, ["--model", models / "mobilefacenet_foamliu.pt", *detector], tmp_path)
