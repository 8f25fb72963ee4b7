"""The job `attack`: what it publishes, that it can be made again, and what it refuses."""

import itertools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import stand_ins
from attacks.networks import write_network
from e2e.harness import People, Run

ATTACKS = ("--attacks", "noise", "jpeg", "fgsm", "pgd")
STRENGTHS = "--strengths.noise 16 64 --strengths.jpeg 10 --strengths.fgsm 4 --strengths.pgd 4 --strengths.pgd-steps 4"
SMALL = (*STRENGTHS.split(), "--replicates", "20", "--photos-per-shard", "40", "--pairs-per-shard", "100")
COLUMNS = ["noise_16", "noise_64", "jpeg_10", "fgsm_4", "pgd_4"]


@pytest.fixture(scope="module")
def torch_net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("net") / "tiny.pt")


def published(out: Path) -> dict[str, Any]:
    tables = {name: pq.read_table(out / name).to_pylist() for name in ("scores", "curves", "embeddings", "rejects")}
    return tables | {"csv": (out / "curves.csv").read_text()}


@dataclass
class Made:
    out: Path
    options: list[object]


@pytest.fixture
def made(run: Run, people: People, torch_net: Path, tmp_path: Path) -> Made:
    options = [*people.args(torch_net, tmp_path / "out"), *ATTACKS, *SMALL]
    ended = run("attack", *options)
    assert ended.code == 0, ended.err
    assert "as the photos are" in ended.out and "pgd at 4" in ended.out
    return Made(tmp_path / "out", options)


def test_curves_of_rendered_people(run: Run, made: Made, people: People, torch_net: Path, tmp_path: Path) -> None:
    found = published(made.out)
    plain = run("score", *people.args(torch_net, tmp_path / "plain"))
    assert plain.code == 0
    scored = {row["pair"]: row["similarity"] for row in pq.read_table(tmp_path / "plain" / "scores").to_pylist()}
    rows = found["scores"]
    assert len(rows) == 240 and all(abs(row["similarity"] - scored[row["pair"]]) < 1e-5 for row in rows)
    assert all(row[name] is not None for row in rows for name in COLUMNS)
    pushed = [(row["pgd_4"] > row["similarity"]) is (row["label"] == 0) for row in rows]
    assert sum(pushed) > 0.95 * len(rows)
    curves = {(row["attack"], row["strength"]): row for row in found["curves"]}
    assert list(curves) == [("none", None), ("noise", 16), ("noise", 64), ("jpeg", 10), ("fgsm", 4), ("pgd", 4)]
    clean, attacked = curves["none", None], curves["pgd", 4]
    assert attacked["eer_real"] > clean["eer_real"] and attacked["iapar"] >= clean["iapar"]
    assert clean["eer_low"] <= clean["eer"] <= clean["eer_high"]
    report = (made.out / "report.html").read_text()
    assert report.count("<img ") == 3 * 4 * (2 + 1) + 3, "of each kind an enrolled photo, the other, and each strength"
    reused = run("score", *people.args(torch_net, tmp_path / "reused"), "--embeddings", made.out)
    facts = json.loads((tmp_path / "reused" / "manifest.json").read_text())
    assert reused.code == 0 and facts["reused"] == facts["rows_in"]["photos"] == facts["rows_out"]["embeddings"]


@pytest.mark.thorough
def test_the_same_again_by_other_workers_and_after_a_stop(
    run: Run, made: Made, people: People, torch_net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray_jobs import attack

    out = tmp_path / "again"
    options = [*people.args(torch_net, out), *ATTACKS, *SMALL, "--workers", "2"]

    def full_disk(*given: Any) -> None:
        given[3].release()  # as the end of a process does
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(attack, "attack_pairs", full_disk)
        run("attack", *options).refused(3, "No space left")
    parts = sorted((out / ".work" / "embeddings").iterdir())
    times = [part.stat().st_mtime_ns for part in parts]
    assert len(parts) == 3
    monkeypatch.setattr(attack, "commit", _looking(attack.commit, parts, times))
    ended = run("attack", *options)
    assert ended.code == 0 and "Going on where an earlier run stopped" in ended.out, ended.err
    assert published(out) == published(made.out)


def _looking(commit: Any, parts: list[Path], times: list[int]) -> Any:
    def committed(*given: Any) -> Any:
        assert [part.stat().st_mtime_ns for part in parts] == times, "photos were attacked again"
        return commit(*given)

    return committed


def test_photos_that_change_make_another_run(run: Run, people: People, torch_net: Path, tmp_path: Path) -> None:
    stand_ins.write_photos(tmp_path / "photos", 3, 2)
    names = [f"{person}_{photo}.png" for person in range(3) for photo in range(2)]
    rows = [f"{a},{b},{int(a[0] == b[0])}" for a, b in itertools.combinations(names, 2)]
    (tmp_path / "pairs.csv").write_text("\n".join(["photo_a,photo_b,label", *rows]) + "\n")
    given = ["--photos", tmp_path / "photos", "--pairs", tmp_path / "pairs.csv", "--model", torch_net]
    given += ["--align.method", "none", "--attacks", "jpeg", "--replicates", "0"]
    options = [*given, "--out", tmp_path / "out"]
    assert run("attack", *options).code == 0
    assert run("attack", *options).code == 0, "finished already"
    os.utime(tmp_path / "photos" / "1_0.png", ns=(1, 1))
    run("attack", *options).refused(2, "photos that are not what they were", "--overwrite")


def test_mistakes(run: Run, people: People, tiny: Path, torch_net: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("attack", *people.args(tiny, out), "--attacks", "noise", "pgd").refused(
        2, "attacks holds pgd", "ONNX graph", "PyTorch weights"
    )
    given = people.args(torch_net, out)
    run("attack", *given, "--strengths.jpeg", "0").refused(2, "strengths.jpeg holds 0")
    run("attack", *given, "--attacks", "blur", "--strengths.blur").refused(2, "strengths.blur is empty")
    run("attack", *given, "--calibrate-at", "1e-4").refused(2, "0.0001")
    assert not (out / ".work").exists()
    dry = tmp_path / "dry"
    ended = run("attack", *people.args(torch_net, dry), "--dry-run")
    assert ended.code == 0 and not dry.exists()
