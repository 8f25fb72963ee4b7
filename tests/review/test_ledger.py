"""No decision is lost, whoever asks at the same time."""

import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.cleaning import decisions_file
from faceverify.cleaning.decisions_file import read_decisions
from faceverify.errors import PlatformError, UserError
from faceverify.review.ledger import DecisionChange, Ledger
from faceverify.storage import Location


def outcomes(file: Location) -> dict[str, tuple[str, str | None]]:
    return {d.photo: d.outcome() for d in read_decisions([file])}


def ledger(file: Location) -> Ledger:
    return Ledger(file, "anna", "digest")


photos = st.sampled_from(["a", "b", "c\n'\"é"])
changes = st.one_of(
    st.builds(DecisionChange, photos, st.just("p"), st.sampled_from(["kept", "dropped", None]), st.none()),
    st.builds(DecisionChange, photos, st.just("p"), st.just("moved"), st.sampled_from(["p", "q", "<r>"])),
)


@settings(deadline=None)  # it writes files
@given(steps=st.lists(st.lists(changes, max_size=3), max_size=6))
def test_the_last_decision_of_each_photo_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, steps: list[list[DecisionChange]]
) -> None:
    file = Location(str(tmp_path_factory.mktemp("ledger") / "review.json"))
    wanted: dict[str, tuple[str, str | None]] = {}
    for step in steps:
        one = ledger(file)  # the server is started again each time
        one.decide(step)
        one.save()
        for change in step:
            wanted.pop(change.photo, None)
            if change.decision is not None:
                wanted[change.photo] = (change.decision, change.to)
        assert outcomes(file) == wanted if wanted or file.exists() else True
    assert len(ledger(file)) == len(wanted)


def test_a_move_to_its_own_person_keeps_it() -> None:
    assert DecisionChange("a", "p", "moved", "p") == DecisionChange("a", "p", "kept", None)
    assert DecisionChange("a", "p", "dropped", "q").to is None


def test_nonsense_is_refused() -> None:
    for decision, to in (("moved", None), ("moved", "  "), ("burnt", None), ("review", None)):
        with pytest.raises(UserError):
            DecisionChange("a", "p", decision, to)


def test_saves_at_the_same_time_share_a_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, writes = Location(str(tmp_path / "review.json")), []

    def slow(place: Location, reviewer: str, table: str, decisions: list) -> None:
        writes.append(len(decisions))
        time.sleep(0.1)
        decisions_file.write_decisions(place, reviewer, table, decisions)

    monkeypatch.setattr("faceverify.review.ledger.write_decisions", slow)
    one = ledger(file)

    def decide(number: int) -> None:
        one.decide([DecisionChange(f"photo {number}", "p", "kept", None)])
        one.save()
        assert f"photo {number}" in outcomes(file)

    threads = [threading.Thread(target=decide, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes(file)) == 20 and len(writes) < 6


def test_a_failed_save_can_be_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    one = ledger(Location(str(folder / "review.json")))
    folder.write_text("in the way")
    one.decide([DecisionChange("a", "p", "kept", None)])
    with pytest.raises(PlatformError, match="cannot save"):
        one.save()
    folder.unlink()
    one.save()
    assert outcomes(one.file) == {"a": ("kept", None)}


@pytest.mark.parametrize("field", ["photo", "person", "to"])
def test_text_that_utf8_cannot_hold_is_refused_at_the_door(field: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="UTF-8"):
        DecisionChange(**{"photo": "a", "person": "p", "decision": "moved", "to": "q", field: "x\ud800"})
    with pytest.raises(UserError, match=r"reviewer: .*UTF-8"):
        Ledger(Location(str(tmp_path / "review.json")), "anna\udcff", "digest")


def test_only_what_is_in_the_file_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "review" / "review.json"
    one = ledger(Location(str(file)))
    one.decide([DecisionChange("a", "p", "kept", None)])
    assert (one.in_file, one.unsaved) == (0, True)
    one.save()
    assert (one.in_file, one.unsaved) == (1, False)
    file.write_bytes(file.read_bytes() + b" ")  # by another program: nothing is saved over it
    one.decide([DecisionChange("b", "p", "kept", None)])
    with pytest.raises(PlatformError):
        one.save()
    assert (one.in_file, one.unsaved, len(one)) == (1, True, 2)
