"""The job `export`: from what training leaves to a file that `score` takes, and nothing that is not proven."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import torch
from e2e.harness import ONE_WORKER, People, Run
from torch import nn

from faceverify.models import card as cards
from faceverify.models import checkpoints, files
from faceverify.storage import Location, open_location
from faceverify.training.checkpoints import CARD, STATE, WEIGHTS, CheckpointManager

HALF = [127.5] * 3
TINY = cards.build(name="trained", architecture="tiny", colour="RGB", mean=HALF, std=HALF, dim=64, licence="ours")
FILES = ["model.fp16.onnx", "model.fp16.onnx.card.json", "model.onnx", "model.onnx.card.json"]


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return checkpoints.build("tiny", 64).eval()


def trained(out: Location, best: nn.Module) -> None:
    """What a training of two validations leaves; the second one is the best by EER, the first by accuracy."""
    keeper = CheckpointManager(out, keep=5)
    found = {100: {"eer": 0.2, "accuracy": 0.9}, 200: {"eer": 0.1, "accuracy": 0.8}}
    for step, judged in found.items():
        keeper.save(step, best if step == 200 else network(1), TINY, {"step": step}, judged)
    keeper.write_leaderboard([{"step": step, **judged} for step, judged in found.items()])


@dataclass(frozen=True)
class Material:
    """A training's output, and a faces table."""

    training: Path
    faces: Path

    @property
    def best(self) -> Path:
        return self.training / "checkpoints" / "step-00000200"


@pytest.fixture(scope="module")
def material(people: People, cluster: object, tmp_path_factory: pytest.TempPathFactory) -> Material:
    from faceverify.config import load
    from ray_jobs import align

    home = tmp_path_factory.mktemp("export")
    trained(Location(str(home / "training")), network(0))
    options = ["--photos", str(people.photos), "--align.method", "annotated", *ONE_WORKER, "--out", str(home / "faces")]
    align.run(load(align.AlignJobConfig, options, prog="align", description=""))
    return Material(home / "training", home / "faces")


@pytest.fixture
def options(material: Material, people: People, tmp_path: Path) -> list[object]:
    """Of a run that compares the EER."""
    compared = ["--faces", material.faces, "--pairs", people.pairs, "--split", "train", "--max-pairs", 100]
    return ["--checkpoint", material.training, *compared, "--out", tmp_path / "out"]


def names(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir())


def test_the_best_of_a_training_becomes_files_that_score_takes(
    run: Run, material: Material, people: People, options: list[object], tmp_path: Path
) -> None:
    ended = run("export", *options)
    assert ended.code == 0, ended.err
    out = tmp_path / "out"
    assert names(out) == sorted([*FILES, "manifest.json"])
    assert f"Taken from {material.best}, step 200, EER 10.00%, the best of" in ended.out
    last = ended.out.splitlines()[-5:]
    assert last[0].startswith("model.onnx, 1.1 MB: unit embeddings within ") and "(1e-05 allowed); EER" in last[0]
    assert last[1].startswith("model.fp16.onnx, 0.6 MB: unit embeddings within ") and "(5e-03 allowed)" in last[1]
    assert last[2].startswith("EER compared over 100 pairs of ")
    assert last[3:] == [f"Use it: score --model {out}/model.onnx", f"Output: {out}"]

    facts = json.loads((out / "manifest.json").read_text())
    for name, told in facts["files"].items():
        card = files.card_of(out / name)
        assert card == cards.parse((out / f"{name}.card.json").read_bytes(), name)
        assert (card.digest, card.sha256) == (told["digest"], told["sha256"])
        assert (card.name, card.licence, card.colour, card.dim) == ("trained", "ours", "RGB", 64)
        assert told["deviation"] <= told["deviation_allowed"]
        assert abs(told["eer"] - facts["compared"]["eer"]) <= told["eer_allowed"] + 1e-9
    assert facts["files"]["model.onnx"]["eer"] == facts["compared"]["eer"] > 0
    assert facts["files"]["model.onnx"]["eer_allowed"] == 0 and facts["compared"]["pairs"] == 100

    # All three give the same similarities, each through the engine that it needs.
    similar = {}
    for model in (material.best / WEIGHTS, out / "model.onnx", out / "model.fp16.onnx"):
        scored = tmp_path / model.name
        assert run("score", *people.args(model, scored)).code == 0
        table = pq.read_table(scored / "scores")
        assert set(table["status"].to_pylist()) == {"ok"}
        similar[model.name] = table["similarity"].to_numpy()
    plain = similar[WEIGHTS]
    assert plain.std() > 0.01
    np.testing.assert_allclose(similar["model.onnx"], plain, atol=1e-5)
    np.testing.assert_allclose(similar["model.fp16.onnx"], plain, atol=2e-3)


def test_a_second_run_does_nothing_and_another_is_refused(run: Run, options: list[object], tmp_path: Path) -> None:
    first = run("export", *options, "--no-half")
    assert first.code == 0 and names(tmp_path / "out") == ["manifest.json", *FILES[2:]]
    before = {place: place.stat().st_mtime_ns for place in (tmp_path / "out").iterdir()}
    again = run("export", *options, "--no-half", "--workers", 1)
    assert again.code == 0 and again.out == first.out and again.err == ""
    assert {place: place.stat().st_mtime_ns for place in (tmp_path / "out").iterdir()} == before
    run("export", *options).refused(2, "finished result of another run", "config.half", "--overwrite")
    run("export", *options, "--no-half", "--seed", 1).refused(2, "config.seed")
    assert {place: place.stat().st_mtime_ns for place in (tmp_path / "out").iterdir()} == before
    assert run("export", *options, "--overwrite").code == 0
    assert names(tmp_path / "out") == sorted([*FILES, "manifest.json"])


def test_without_faces_embeddings_are_compared_and_the_bytes_are_the_same(
    run: Run, material: Material, tmp_path: Path
) -> None:
    for name, checkpoint in (("a", material.best), ("b", material.best / WEIGHTS)):
        ended = run("export", "--checkpoint", checkpoint, "--out", tmp_path / name)
        assert ended.code == 0, ended.err
    assert "The EER was not compared: that needs --faces and --pairs." in ended.out
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert STATE.encode() not in (tmp_path / "a" / "manifest.json").read_bytes()


def test_a_dry_run_writes_nothing(run: Run, options: list[object], tmp_path: Path) -> None:
    ended = run("export", *options, "--dry-run")
    assert ended.code == 0 and "Network: trained (tiny, 64 numbers, RGB, card " in ended.out and "Dry run" in ended.out
    assert names(tmp_path) == []


def test_what_is_not_proven_is_not_kept(
    run: Run, people: People, material: Material, options: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loud = network(0)
    with torch.no_grad():  # numbers that float16 does not have, where PyTorch computes as before
        loud.input_layer[0].weight *= 1e4
        loud.input_layer[1].weight *= 1e2
        for layer in (loud.body[0].res_layer[0], loud.body[0].res_layer[5], loud.body[1].res_layer[0]):
            layer.weight *= 1e-3
    trained(Location(str(tmp_path / "loud")), loud)
    out = tmp_path / "out"
    ended = run("export", "--checkpoint", tmp_path / "loud", "--out", out)
    ended.refused(3, "model.fp16.onnx gives other embeddings than PyTorch", "65,504")
    assert names(out) == []
    assert run("export", "--checkpoint", tmp_path / "loud", "--no-half", "--out", out).code == 0

    from faceverify.models.parity import PairFaces

    eers = iter([0.1, 0.1, 0.1, 0.3])
    monkeypatch.setattr(PairFaces, "eer", lambda self, units: next(eers))
    moved = [*options, "--out", tmp_path / "moved"]
    run("export", *moved).refused(3, "model.fp16.onnx has an EER of 30.000%", "PyTorch has 10.000%")
    assert names(tmp_path / "moved") == []
    monkeypatch.undo()
    assert run("export", *moved, "--seed", 1).code == 0, "another command must run"


def test_mistakes(run: Run, people: People, material: Material, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def wrong(checkpoint: object, *more: object) -> tuple[object, ...]:
        return ("export", "--checkpoint", checkpoint, "--out", out, *more)

    run("export", "--out", out).refused(2, "Required and not given: --checkpoint")
    run(*wrong(people.root)).refused(2, "checkpoint", "neither model.safetensors nor checkpoints of a training")
    run(*wrong(tmp_path / "gone")).refused(2, "There is no model", "gone")
    run(*wrong(tiny)).refused(2, "tiny.onnx is an ONNX graph")
    copied = tmp_path / "copied"
    copied.mkdir()
    (copied / WEIGHTS).write_bytes((material.best / WEIGHTS).read_bytes())
    run(*wrong(copied)).refused(2, "model.safetensors has no model card", "faceverify models card")
    (copied / CARD).write_text(TINY.to_json().replace('"tiny"', '"ir_50"'))
    run(*wrong(copied)).refused(2, "does not fit the architecture ir_50", "those of tiny with 64 dimensions")
    (copied / CARD).write_text(TINY.to_json())
    checkpoints.save({k: v for k, v in network(0).state_dict().items() if "output" not in k}, copied / WEIGHTS)
    run(*wrong(copied)).refused(2, "does not fit the architecture tiny", "missing: output_layer.0.weight")
    file = tmp_path / "file"
    file.write_text("in the way")
    run("export", "--checkpoint", material.best, "--out", file).refused(2, "out:", "is a file")
    best = material.best
    pairs = ("--pairs", people.pairs)
    run(*wrong(best, *pairs)).refused(2, "--pairs is given without --faces")
    both = ("--faces", material.faces, *pairs)
    run(*wrong(best, *both)).refused(2, "split is 'val'", "the pairs are of")
    run(*wrong(best, *both, "--max-pairs", -1)).refused(2, "max_pairs is -1")
    run(*wrong(best, "--faces", people.photos, "--pairs", people.pairs)).refused(
        2, "faces", "column 'image' is missing"
    )
    run(*wrong(best, "--faces", tmp_path / "no", "--pairs", people.pairs)).refused(2, "faces", "no file or folder")
    assert not out.exists()


def test_in_s3(
    run: Run, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, people: People, material: Material
) -> None:
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path / "cache"))
    training, out = open_location(f"s3://{bucket}/training"), open_location(f"s3://{bucket}/exported")
    trained(training, network(0))
    ended = run("export", "--checkpoint", training, "--out", out)
    assert ended.code == 0, ended.err
    assert [entry.path for entry in out.files()] == sorted([*FILES, "manifest.json"])
    near = run("export", "--checkpoint", material.best, "--out", tmp_path / "near")
    assert near.code == 0
    for name in FILES:
        assert (out / name).read_bytes() == (tmp_path / "near" / name).read_bytes()
    assert onnx.load_from_string((out / "model.onnx").read_bytes()).graph.name
