"""When most rows fail for one reason: what is said, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.config import JobConfig, replaced
from faceverify.errors import BadData, Reason, UserError
from faceverify.faces import Rejects
from faceverify.failures import REMEDIES, refuse, worst
from faceverify.parts import facts_of, total


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 9)), st.floats(0, 1))
def test_one_reason_over_the_share(counts: dict[str, int], share: float) -> None:
    rows = sum(counts.values()) + 1
    found = worst(counts, rows, share)
    assert (found is None) == all(count / rows <= share for count in counts.values())
    assert found is None or counts[found] == max(counts.values())


def test_the_share_itself_is_allowed_and_one_never_stops() -> None:
    refuse({"missing": 1}, 2, 0.5)
    refuse({"missing": 2}, 2, 1.0)
    refuse({"missing": 40, "no_face": 40}, 100, 0.5)  # not for one reason
    for count, rows, share in ((1, 1, 0.5), (2, 3, 0.5), (1, 100, 0)):
        with pytest.raises(UserError, match=f"{count} of {rows} photos failed with missing"):
            refuse({"missing": count}, rows, share)


def test_the_sentence() -> None:
    names = {"no_face": ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]}
    with pytest.raises(UserError) as caught:
        refuse({"no_face": 306}, 306, 0.5, names=names)
    assert str(caught.value) == (
        "306 of 306 photos failed with no_face ('a.jpg', 'b.jpg', 'c.jpg'), which is more than --max-failed 0.5 "
        "allows; if the photos are aligned already, give --align.method none; for small faces in large photos "
        "--align.detect-side 1280; --max-failed 1 accepts it."
    )


def test_remedies_are_for_reasons() -> None:
    assert set(REMEDIES) <= set(Reason)


def test_rejects_are_counted_with_their_first_names() -> None:
    tables = []
    for start in (0, 10):
        rejects = Rejects()
        for number in range(start, start + 5):
            rejects.add(f"{number}.jpg", "read", BadData(Reason.EMPTY if number % 5 else Reason.MISSING))
        tables.append(rejects.table())
    facts = total(map(facts_of, tables))
    counts, names = facts.counts, facts.examples
    assert counts == {"missing": 2, "empty": 8}
    assert names == {"missing": ["0.jpg", "10.jpg"], "empty": ["1.jpg", "2.jpg", "3.jpg"]}


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "half"])
def test_the_share_is_a_share(value: object) -> None:
    with pytest.raises(UserError, match=r"max_failed: .*got"):
        replaced(JobConfig(), {"max_failed": value}, "here")
