"""Which network a user names: a checkpoint, the best of a training, a file; and what is no network."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from faceverify.errors import PlatformError, UserError
from faceverify.models import card as cards
from faceverify.models import checkpoints
from faceverify.models.card import ModelCard, card_path
from faceverify.storage import Location, open_location
from faceverify.training.checkpoints import CARD, DONE, STATE, WEIGHTS, CheckpointManager, load_trained

HALF = [127.5] * 3
TINY = cards.build(name="mine", architecture="tiny", colour="BGR", mean=HALF, std=HALF, dim=16)
FOUND = {100: (0.2, 0.7), 200: (0.05, 0.8), 300: (0.1, 0.9)}  # step -> EER, accuracy


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return checkpoints.build("tiny", 16).eval()


def trained(out: Location, card: ModelCard = TINY) -> None:
    """A training of three validated checkpoints and one that is only to go on from."""
    manager = CheckpointManager(out, keep=5)
    for step, (eer, accuracy) in FOUND.items():
        manager.save(step, network(step), card, {"step": step}, {"eer": eer, "accuracy": accuracy})
    manager.save(400, network(400), card, {"step": 400}, {})
    manager.write_leaderboard([{"step": s, "eer": eer, "accuracy": acc} for s, (eer, acc) in FOUND.items()])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    trained(Location(str(tmp_path / "run")))
    return tmp_path / "run"


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_the_best_of_a_training_is_the_first_of_its_leaderboard(run: Path) -> None:
    taken = load_trained(str(run))
    assert same(taken.network, network(200)) and not taken.network.training
    assert (
        taken.description == f"{run}/checkpoints/step-00000200, step 200, EER 5.00%, the best of {run}/leaderboard.csv"
    )
    assert (run / "leaderboard.csv").read_text().splitlines()[1].startswith("step-00000200,200,")
    assert (taken.card.name, taken.card.colour) == ("mine", "BGR") and taken.card.sha256 is not None


def test_any_checkpoint(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = run / "checkpoints" / "step-00000300"
    taken = load_trained(str(place))
    assert same(taken.network, network(300)) and taken.description == f"{place}, step 300, EER 10.00%"
    assert same(load_trained(str(run / "checkpoints" / "step-00000400")).network, network(400))
    for name in (STATE, DONE):  # of no concern
        (place / name).unlink()
    assert same(load_trained(str(place)).network, network(300)) and load_trained(str(place)).description == str(place)
    assert same(load_trained(str(place / WEIGHTS)).network, network(300))
    monkeypatch.chdir(tmp_path)
    assert same(load_trained("run").network, network(200))


def test_in_s3(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path / "cache"))
    out = open_location(f"s3://{bucket}/runs/train")
    trained(out)
    for named in (out.uri, f"{out}/checkpoints/step-00000200", f"{out}/checkpoints/step-00000200/{WEIGHTS}"):
        taken = load_trained(named)
        assert same(taken.network, network(200)) and taken.card.colour == "BGR"
    with pytest.raises(PlatformError, match="no bucket"):
        load_trained("s3://nowhere/run")
    with pytest.raises(UserError, match="no file or folder"):
        load_trained(f"s3://{bucket}/gone")


def test_what_is_no_network(run: Path, tmp_path: Path) -> None:
    place = run / "checkpoints" / "step-00000300"
    with pytest.raises(UserError, match=rf"checkpoint: '{tmp_path}' holds neither model\.safetensors nor"):
        load_trained(str(tmp_path))
    with pytest.raises(UserError, match="There is no model"):
        load_trained(str(tmp_path / "gone.pt"))
    (place / CARD).unlink()
    with pytest.raises(UserError, match=r"model\.safetensors has no model card"):
        load_trained(str(place))
    for change, match in (
        ({"architecture": "ir_18"}, r"does not fit the architecture ir_18.*those of tiny with 16 dimensions"),
        ({"dim": 32}, r"output_layer\.3\.weight.*those of tiny with 16 dimensions"),
        ({"architecture": "resnet"}, "no architecture 'resnet'"),
        ({"colour": "GRB"}, r"card\.json is not valid: colour"),
        ({"sha256": "0" * 64}, "was replaced"),
    ):
        text = json.dumps(json.loads(TINY.to_json()) | change)
        card_path(place / WEIGHTS).write_text(text)
        with pytest.raises(UserError, match=match):
            load_trained(str(place))
    card_path(place / WEIGHTS).write_text(TINY.to_json())
    (place / WEIGHTS).write_bytes((place / WEIGHTS).read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged"):
        load_trained(str(place))


def test_a_training_before_its_first_validation(tmp_path: Path) -> None:
    manager = CheckpointManager(Location(str(tmp_path)), keep=5)
    manager.save(10, network(0), TINY, {}, {})
    manager.wait()
    with pytest.raises(UserError, match="without a validated checkpoint"):
        load_trained(str(tmp_path))
