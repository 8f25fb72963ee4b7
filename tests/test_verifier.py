"""`from faceverify import Verifier`: the numbers, bad photos, mistakes in a sentence, what is loaded."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_ins
from forensics import graphs

from faceverify import Embeddings, Verification, Verifier
from faceverify.align import AlignConfig
from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration
from faceverify.faces import GROUP_PHOTOS
from faceverify.forensics.model import ForensicModel
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.images import encode_png
from faceverify.models import EngineConfig, load_engine


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network, four photos of two people, and photos that cannot be used."""
    home = tmp_path_factory.mktemp("verifier")
    stand_ins.write_embedder(home / "net.onnx")
    stand_ins.write_photos(home / "photos")
    (home / "notes.txt").write_bytes(b"no picture")
    (home / "cut.png").write_bytes((home / "photos" / "0_0.png").read_bytes()[:-40])
    (home / "wide.png").write_bytes(encode_png(np.full((112, 200, 3), 9, np.uint8)))
    (home / "black.png").write_bytes(encode_png(np.zeros((112, 112, 3), np.uint8)))
    return home


@pytest.fixture(scope="module")
def paths(home: Path) -> list[Path]:
    return sorted((home / "photos").glob("*.png"))


@pytest.fixture(scope="module")
def verifier(home: Path) -> Verifier:
    return Verifier(home / "net.onnx", "none", threshold=0.5)


def test_a_similarity_is_the_cosine_of_the_embeddings(verifier: Verifier, home: Path, paths: list[Path]) -> None:
    faces = np.stack([stand_ins.draw(*place) for place in np.ndindex(2, 2)])
    vectors = load_engine(str(home / "net.onnx")).embed(faces).astype(np.float64)
    units = vectors / np.linalg.norm(vectors, axis=1)[:, None]
    results = verifier.verify_all(paths)
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    assert [(r.face_a.photo, r.face_b.photo) for r in results] == [(str(paths[a]), str(paths[b])) for a, b in pairs]
    assert [r.similarity for r in results] == pytest.approx([units[a] @ units[b] for a, b in pairs], abs=1e-6)
    assert verifier.verify(paths[1], paths[2]).similarity == results[3].similarity
    embeddings = verifier.embed(paths)
    assert np.array_equal(embeddings.matrix, vectors.astype(np.float32)) and embeddings.ok.all()
    assert verifier.compare(embeddings) == pytest.approx(units @ units.T, abs=1e-6)
    assert verifier.compare(embeddings, vectors[:1] * 7) == pytest.approx(units @ units[:1].T, abs=1e-6)


def test_a_decision_is_at_the_threshold(home: Path, paths: list[Path]) -> None:
    similarity = Verifier(home / "net.onnx", "none").verify(*paths[:2]).similarity
    assert similarity is not None
    for value, accepted in ((similarity, True), (similarity + 1e-6, False), (None, None)):
        result = Verifier(home / "net.onnx", "none", threshold=value).verify(*paths[:2])
        assert result.accepted is accepted and result.forensic is None
        assert str(result).startswith(f"{similarity:.4f}, ")
        assert json.loads(json.dumps(result.to_dict()))["accepted"] is accepted


def test_paths_texts_and_arrays_are_one_photo(verifier: Verifier, paths: list[Path]) -> None:
    pixels = stand_ins.draw(0, 0)
    first = verifier.embed([paths[0], str(paths[0]), pixels, pixels[:, ::-1][:, ::-1]], crops=True)
    assert len(first) == 4 and (np.asarray(first) == first.matrix[0]).all()
    assert [face.photo for face in first.faces] == [str(paths[0]), str(paths[0]), "array 2", "array 3"]
    assert all(np.array_equal(face.crop, pixels) for face in first.faces)
    assert all(face.crop is None for face in verifier.embed([paths[0]]).faces)
    other = verifier.embed([pixels[..., ::-1]]).matrix  # BGR
    assert not np.allclose(other, first.matrix[0])


def test_order_is_kept_across_groups(verifier: Verifier, paths: list[Path]) -> None:
    arrays = [stand_ins.draw(5, number) for number in range(GROUP_PHOTOS + 5)]
    mixed = [*arrays, paths[0], arrays[3], paths[1]]
    one_by_one = np.concatenate([verifier.embed([photo]).matrix for photo in mixed])
    assert verifier.embed(mixed).matrix == pytest.approx(one_by_one, rel=1e-5, abs=1e-4)


def test_nothing_gives_nothing(verifier: Verifier) -> None:
    nothing = verifier.embed([])
    assert nothing.matrix.shape == (0, 64) and verifier.compare(nothing).shape == (0, 0)


@pytest.mark.parametrize(
    ("photo", "status"),
    [
        ("notes.txt", "not_an_image"),
        ("cut.png", "truncated"),
        ("wide.png", "not_aligned"),
        ("black.png", "bad_embedding"),
        (np.zeros((8, 8, 3), np.uint8), "too_small"),
        (np.zeros((112, 200, 3), np.uint8), "not_aligned"),
    ],
    ids=str,
)
def test_a_photo_that_cannot_be_used_has_a_status(
    photo: str | np.ndarray, status: str, verifier: Verifier, home: Path, paths: list[Path]
) -> None:
    given = home / photo if isinstance(photo, str) else photo
    result = verifier.verify(paths[0], given)
    assert (result.status, result.similarity, result.accepted) == (status, None, None)
    assert result.face_a.ok and result.face_b.status == status and result.face_b.embedding is None
    assert str(result) == f"{status}: {result.face_b.photo}"
    embeddings = verifier.embed([given, paths[0]])
    assert embeddings.ok.tolist() == [False, True] and np.isnan(embeddings.matrix[0]).all()
    assert np.isnan(verifier.compare(embeddings)).tolist() == [[True, True], [True, False]]


def test_a_pair_of_two_bad_photos_has_the_status_of_the_first(verifier: Verifier, home: Path) -> None:
    assert verifier.verify(home / "cut.png", home / "notes.txt").status == "truncated"


MISTAKES: dict[str, tuple[Callable[[Verifier, Path], object], str]] = {
    "missing": (lambda v, home: v.verify(home / "photos/0_0.png", home / "nobody.jpg"), "nobody.jpg' is no photo"),
    "folder": (lambda v, home: v.embed([home]), "it is a folder, a pipe or a device"),
    "too long": (lambda v, home: v.embed(["x" * 300]), "is no photo"),
    "scheme": (lambda v, home: v.embed(["ftp://x/y.jpg"]), "'ftp://'"),
    "float": (lambda v, home: v.embed([np.zeros((9, 9, 3))]), "array 0 is float64 [9, 9, 3]: give RGB uint8"),
    "grey": (lambda v, home: v.embed([np.zeros((9, 9), np.uint8)]), "array 0 is uint8 [9, 9]"),
    "number": (lambda v, home: v.embed([3]), "photo 0 is of type int"),
    "not a list": (lambda v, home: v.embed(str(home / "photos/0_0.png")), "a list of photos"),
    "one": (lambda v, home: v.verify_all([home / "photos/0_0.png"]), "1 photo makes no pair"),
    "other dim": (lambda v, home: v.compare(np.zeros((3, 5))), "embeddings [N, 64], not [3, 5]"),
    "model": (lambda v, home: Verifier(home / "none.onnx", "none"), "There is no model"),
    "aligner": (lambda v, home: Verifier(home / "net.onnx", "yunett"), "aligner is 'yunett': give one of yunet, "),
    "annotated": (lambda v, home: Verifier(home / "net.onnx", "annotated"), "photos table"),
    "policy": (lambda v, home: Verifier(home / "net.onnx", "none", policy="both"), "policy is 'both': give one of"),
    "threshold": (lambda v, home: Verifier(home / "net.onnx", "none", threshold=3), "threshold is 3"),
    "calibration": (lambda v, home: Verifier(home / "net.onnx", "none", calibration="no.json"), "no.json"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_a_sentence(mistake: str, verifier: Verifier, home: Path) -> None:
    call, said = MISTAKES[mistake]
    with pytest.raises(UserError) as refused:
        call(verifier, home)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_a_calibration_decides_if_it_fits(verifier: Verifier, home: Path, paths: list[Path], tmp_path: Path) -> None:
    similarity = verifier.verify(*paths[:2]).similarity
    facts = {
        "threshold": similarity,
        "rule": "fmr=0.01",
        "fmr": 0.01,
        "fnmr": 0.0,
        "interval": None,
        "n_genuine": 100,
        "n_impostor": 100,
        "model": verifier.card.digest,
        "crop": verifier.crop,
        "data": "",
        "created": "2026-11-30",
        "version": "0.1.0",
    }
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps(facts))
    for given in (file, str(file), Calibration.from_json(json.dumps(facts), "")):
        result = Verifier(home / "net.onnx", "none", calibration=given).verify(*paths[:2])
        assert result.accepted and result.decision == "accepted; 1 in 100 pairs of strangers would be"
    file.write_text(json.dumps(facts | {"crop": {"aligner": "yunet-0123456789ab"}}))
    with pytest.raises(UserError, match="cut out in another way"):
        Verifier(home / "net.onnx", "none", calibration=file)


def test_photos_in_s3(verifier: Verifier, home: Path, paths: list[Path], bucket: str) -> None:
    from faceverify.storage import open_location

    open_location(f"s3://{bucket}/a.png").write_bytes(paths[0].read_bytes())
    assert verifier.verify(f"s3://{bucket}/a.png", paths[1]).similarity == verifier.verify(*paths[:2]).similarity
    with pytest.raises(UserError, match=r"'s3://photos/b\.png' is no photo: there is no such file"):
        verifier.verify(paths[0], f"s3://{bucket}/b.png")


def test_several_faces_and_none(shared_data: Path) -> None:
    models, photo = shared_data / "models", shared_data / "odd" / "two_faces.jpg"
    given = (models / "mobilefacenet_y1.onnx", "yunet", models / "face_detection_yunet_2026may.onnx")
    refused, empty = Verifier(*given, policy="refuse").embed([photo, np.full((250, 250, 3), 90, np.uint8)]).faces
    assert (refused.status, empty.status) == ("several_faces", "no_face")
    for policy in ("largest", "most_central"):
        (face,) = Verifier(*given, policy=policy).embed([photo]).faces
        (same,) = (
            Verifier(given[0], AlignConfig(method="yunet", weights=str(given[2]), policy=policy)).embed([photo]).faces
        )
        assert face.ok and face.faces_found == 2 and np.array_equal(face.landmarks, same.landmarks)
        assert face.landmarks.shape == (5, 2) and 0.6 <= face.detection_score <= 1
        assert json.loads(json.dumps(face.to_dict()))["faces_found"] == 2


def test_what_is_public_and_no_more() -> None:
    import faceverify

    assert (Verifier.__module__, Verification.__module__, Embeddings.__module__) == (
        "faceverify.verifier",
        "faceverify.results",
        "faceverify.results",
    )
    assert all(getattr(faceverify, name) is not None for name in faceverify.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Verifyer'"):
        faceverify.Verifyer  # noqa: B018


def test_the_package_costs_nothing_and_a_comparison_loads_only_what_it_needs(home: Path, paths: list[Path]) -> None:
    """Workers import the package without need of it; PyTorch, pandas and Ray take longer than two photos do."""
    program = f"""
import sys
import faceverify
assert not {{"numpy", "pyarrow", "importlib.metadata"}} & set(sys.modules)
faceverify.Verifier({str(home / "net.onnx")!r}, "none").verify({str(paths[0])!r}, {str(paths[1])!r})
print(sorted({{"torch", "pandas", "ray", "scipy", "boto3", "matplotlib", "onnxscript"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_a_forensic_model_scores_the_photos_and_decides(tmp_path: Path, home: Path) -> None:
    """The stand-in detector looks at every photo shrunk to its own size: the same face, four times as large."""
    stand_ins.write_detector(tmp_path / "detector.onnx")
    graphs.roughness(tmp_path / "model.onnx", graphs.card())
    rng = np.random.default_rng(0)
    small, large = (np.full((side, side, 3), 120, np.uint8) for side in (stand_ins.PHOTO, 4 * stand_ins.PHOTO))
    rough = rng.integers(0, 256, large.shape, np.uint8)
    align = AlignConfig(method="yunet", weights=str(tmp_path / "detector.onnx"), detect_side=stand_ins.PHOTO)
    given: dict[str, Any] = {"threshold": -1.0, "forensic": tmp_path}
    verifier = Verifier(home / "net.onnx", align, forensic_threshold=0.0, **given)
    same = verifier.verify(large, rough)
    assert same.eyes_a == same.eyes_b == pytest.approx(4 * (verifier.embed([small]).faces[0].eyes or 0), rel=1e-3)
    assert same.eyes_a is not None and same.eyes_a > 64
    assert same.forensic_a == pytest.approx(-2, abs=1e-4) and same.forensic_b is not None and same.forensic_b > 0
    assert same.accepted is False and [face.photo for face in same.manipulated] == ["array 1"]
    shrunk = verifier.verify(large, small)
    assert shrunk.accepted and [face.photo for face in shrunk.unjudged] == ["array 1"]
    assert "too small to judge" in str(shrunk)
    undecided = Verifier(home / "net.onnx", align, **given).verify(large, rough)
    assert undecided.accepted and undecided.forensic_b == same.forensic_b
    alone = Verifier(home / "net.onnx", align, threshold=-1.0).verify(large, rough)
    assert alone.similarity == same.similarity and alone.forensic is None and alone.eyes_a == same.eyes_a


def test_forensic_thresholds_need_their_model(tmp_path: Path, home: Path) -> None:
    stand_ins.write_detector(tmp_path / "detector.onnx")
    model = graphs.roughness(tmp_path / "model.onnx", graphs.card())
    digest = ForensicModel(model, EngineConfig()).card.digest
    align = AlignConfig(method="yunet", weights=str(tmp_path / "detector.onnx"))
    crop = Verifier(home / "net.onnx", align).crop
    for whose, given, said in (
        (digest, {}, "calibration's forensic thresholds cannot be used without a forensic model"),
        ("e" * 64, {"forensic": model}, "were chosen for the model eeee"),
        (digest, {"forensic": model}, ""),
    ):
        known = Calibration(
            threshold=0.5,
            rule="eer",
            fmr=0.1,
            fnmr=0.1,
            interval=None,
            n_genuine=9,
            n_impostor=9,
            model=load_engine(str(home / "net.onnx")).card.digest,
            crop=crop,
            data="drawn",
            created="2026-12-01",
            version="0",
            forensic=ForensicThresholds.of_own(1.0, whose),
        )
        if said:
            with pytest.raises(UserError, match=said):
                Verifier(home / "net.onnx", align, calibration=known, **given)
        else:
            assert Verifier(home / "net.onnx", align, calibration=known, **given).limits == known.forensic
    with pytest.raises(UserError, match="forensic_threshold 2 cannot be used without a forensic model"):
        Verifier(home / "net.onnx", align, forensic_threshold=2.0)
    with pytest.raises(UserError, match="forensic needs landmarks, and the aligner 'none' finds none"):
        Verifier(home / "net.onnx", "none", forensic=model)
