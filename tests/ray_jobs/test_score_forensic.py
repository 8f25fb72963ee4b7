"""`score` with a forensic model: columns, both thresholds, re-use, mistakes; in one process, on drawn photos."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import stand_ins
from forensics import graphs

from faceverify.align import AlignConfig, build
from faceverify.errors import UserError
from faceverify.evaluation.calibration import Calibration
from faceverify.faces import find_each
from faceverify.forensics.bands import eye_distance
from faceverify.forensics.model import ForensicModel
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.images import decode
from faceverify.images.decoded import DecodedPhoto
from faceverify.models import EngineConfig
from faceverify.rendered import RenderedConfig, write
from faceverify.storage import Location
from ray_jobs.score import ScoreConfig, run

SCORED = ["forensic_a", "forensic_b", "eyes_a", "eyes_b", "forensic_with", "refused_for", "not_judged"]


@dataclass(frozen=True)
class Home:
    """A folder with photos of two sizes (small ones are not judged), all their pairs, a recogniser, two forensic
    models of which one is in a run's folder; and both numbers of each photo, computed one by one."""

    folder: Path
    scores: dict[str, float]
    eyes: dict[str, float]

    @property
    def limit(self) -> float:
        """Half of the photos that are judged count as manipulated from here on."""
        return float(np.median([score for name, score in self.scores.items() if self.eyes[name] >= 32]))

    def run(self, name: str, **options: Any) -> tuple[pa.Table, dict[str, Any]]:
        """The scores of a run, and its manifest."""
        given = {"photos": "photos.parquet", "pairs": "pairs.csv", "model": "net.onnx"}
        run(ScoreConfig(out=str(self.folder / name), align=AlignConfig(method="annotated"), **(given | options)))
        manifest = json.loads((self.folder / name / "manifest.json").read_text())
        return pq.read_table(self.folder / name / "scores"), manifest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("score_forensic")
    stand_ins.write_embedder(folder / "net.onnx")
    (folder / "run").mkdir()
    graphs.roughness(folder / "run" / "model.onnx", graphs.card())
    graphs.roughness(folder / "other.onnx", graphs.card(name="other"), weight=20)
    tables = []
    for side in (64, 256):
        config = RenderedConfig(persons=2, photos_per_person=2, fakes_per_person=1, photo_size=side)
        rows = write(config, Location(str(folder / str(side)))).photos
        names = pc.binary_join_element_wise(str(side), rows["photo"], "/")
        tables.append(rows.set_column(0, rows.schema.field("photo"), names))
    photos = pa.concat_tables(tables)
    pq.write_table(photos, folder / "photos.parquet")
    names = photos["photo"].to_pylist()
    lines = [f"{a},{b}" for i, a in enumerate(names) for b in names[i + 1 :]]
    (folder / "pairs.csv").write_text("\n".join(["photo_a,photo_b", *lines]) + "\n")
    model, aligner = (
        ForensicModel(folder / "run" / "model.onnx", EngineConfig()),
        build(AlignConfig(method="annotated")),
    )
    scores, eyes = {}, {}
    for row in photos.to_pylist():
        points = np.array(row["landmarks"], np.float32).reshape(5, 2)
        pixels = decode((folder / row["photo"]).read_bytes())
        [(_, [crop])] = find_each([DecodedPhoto(pixels)], [points], aligner, crops=(model.crop,))  # pyrefly: ignore
        eyes[row["photo"]] = float(eye_distance(points[None])[0])
        scores[row["photo"]] = float(model.scores(crop[None], np.array([eyes[row["photo"]]]))[0])
    assert min(eyes.values()) < 32 < max(eyes.values())
    return Home(folder, scores, eyes)


@pytest.fixture
def home(made: Home, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.chdir(made.folder)  # paths are given as a user gives them
    return made


def test_each_photo_is_scored_once_and_both_thresholds_decide(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    plain, _ = home.run("plain", threshold=0.0)
    assert not set(SCORED) & set(plain.column_names)
    assert "forensic" not in pq.read_schema(next((home.folder / "plain" / "embeddings").glob("*.parquet"))).names
    limit = home.limit
    both, manifest = home.run("both", threshold=0.0, forensic="run", forensic_threshold=limit)
    assert [name for name in both.column_names if name not in plain.column_names] == SCORED
    assert both["similarity"].equals(plain["similarity"])
    counts = dict.fromkeys(("similarity", "forensic", "both"), 0)
    for row in both.to_pylist():
        a, b = row["photo_a"], row["photo_b"]
        assert [row["forensic_a"], row["forensic_b"]] == pytest.approx([home.scores[a], home.scores[b]], abs=1e-4)
        assert [row["eyes_a"], row["eyes_b"]] == pytest.approx([home.eyes[a], home.eyes[b]], abs=1e-3)
        bad = any(row[f"eyes_{x}"] >= 32 and row[f"forensic_{x}"] >= np.float32(limit) for x in "ab")
        far = row["similarity"] < 0
        why = "both" if bad and far else "forensic" if bad else "similarity" if far else None
        assert row["refused_for"] == why and row["accepted"] is (why is None)
        counts |= {why: counts[why] + 1} if why else {}
    assert counts["forensic"] + counts["both"] > 0 and None in both["refused_for"].to_pylist()
    assert manifest["refused_for"] == {name: count for name, count in counts.items() if count}
    small = sum(min(row["eyes_a"], row["eyes_b"]) < 32 for row in both.to_pylist())
    assert manifest["not_judged"] == small > 0
    assert f"a photo of {small} pairs, too small" in capsys.readouterr().out


def test_small_photos_are_refused_on_request(home: Home) -> None:
    rows, _ = home.run("small", threshold=-1.0, forensic="run", forensic_threshold=100.0, too_small="refuse")
    for row in rows.to_pylist():
        small = min(row["eyes_a"], row["eyes_b"]) < 32
        assert row["accepted"] is not small and row["refused_for"] == ("too_small" if small else None)


def test_embeddings_are_taken_only_with_scores_of_the_same_model(home: Home) -> None:
    home.run("first", forensic="run")
    count = len(home.scores)
    given = str(home.folder / "first" / "embeddings")
    same, manifest = home.run("same", forensic="run/model.onnx", embeddings=given)
    assert (manifest["reused"], manifest["not_reused"]) == (count, {})
    assert same.select(SCORED).equals(home.run("first", forensic="run")[0].select(SCORED))
    _, manifest = home.run("other", forensic="other.onnx", embeddings=given)
    assert (manifest["reused"], manifest["not_reused"]) == (0, {"other forensic model": count})
    _, manifest = home.run("none", embeddings=given)
    assert manifest["reused"] == count


def test_another_forensic_model_is_another_run(home: Home) -> None:
    home.run("once", forensic="run")
    with pytest.raises(UserError, match="forensic"):
        home.run("once", forensic="other.onnx")


def calibrated(home: Home, model: str) -> str:
    """calibration.json of the recogniser, with thresholds of a forensic model."""
    rows, _ = home.run("known")
    scored = json.loads(rows["scored_with"][0].as_py())
    crop = scored["crop"]
    file = home.folder / f"calibration_{model[:4]}.json"
    file.write_text(
        Calibration(
            threshold=0.0,
            rule="eer",
            fmr=0.1,
            fnmr=0.1,
            interval=None,
            n_genuine=9,
            n_impostor=9,
            model=scored["model"],
            crop=json.loads(crop) if isinstance(crop, str) else crop,
            data="drawn",
            created="2026-12-01",
            version="0",
            forensic=ForensicThresholds.of_own(home.limit, model),
        ).to_json()
    )
    return file.name


def test_mistakes_are_said_before_work_starts(home: Home) -> None:
    digest = ForensicModel(home.folder / "run" / "model.onnx", EngineConfig()).card.digest
    own, other = calibrated(home, digest), calibrated(home, "e" * 64)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"calibration": own}, "decides by forensic scores too: give the forensic model"),
        ({"calibration": other, "forensic": "run"}, "were chosen for the model eeee"),
        ({"forensic_threshold": 2.0}, "--forensic-threshold 2 is given without --forensic"),
        ({"forensic": "nowhere.onnx"}, "there is no model 'nowhere.onnx'"),
        ({"forensic": "net.onnx"}, "has no card of a forensic model"),
    ]
    for options, said in wrong:
        with pytest.raises(UserError, match=said):
            home.run("wrong", **options)
    with pytest.raises(UserError, match="none finds none"):
        run(
            ScoreConfig(
                out="wrong",
                photos="photos.parquet",
                pairs="pairs.csv",
                model="net.onnx",
                forensic="run",
                align=AlignConfig(method="none"),
            )
        )
    assert not (home.folder / "wrong").exists()
    rows, _ = home.run("right", calibration=own, forensic="run")
    assert "forensic" in rows["refused_for"].to_pylist() or "both" in rows["refused_for"].to_pylist()
