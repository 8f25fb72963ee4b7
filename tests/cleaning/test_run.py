"""All rounds together on planted people: each photo ends with the decision and the reason that it was planted for."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faceverify.cleaning.decisions_file import ReviewDecision
from faceverify.errors import UserError

Clean = Callable[..., Any]
BYTES = b"the same picture"


def reviewed(photo: str, decision: str, to: str | None = None) -> ReviewDecision:
    return ReviewDecision(photo, photo.split("/")[0], decision, to, "1", "anna", "digest")


def test_a_stray_goes_to_its_owner(people: Any, clean: Clean) -> None:
    stray = people.crowd().add("p03", "9.jpg", people.vector("p17"))
    done = clean(people)
    row = done.of(stray)
    assert (row["decision"], row["reason"], row["new_person"]) == ("moved", "nearer_to_other", "p17")
    assert row["suggested_person"] == "p17" and row["similarity_suggested"] > 0.6 > row["similarity_own"]
    assert "p17" in row["evidence"] and row["decided_by"] == "cleaning"
    others = [row for row in done.tables["decisions"] if row["photo"] != stray]
    assert {row["decision"] for row in others} == {"kept"}
    (moved,) = [row for row in done.tables["photos"] if row["photo"] == stray]
    assert (moved["person"], moved["original_person"], moved["provenance"]) == ("p17", "p03", "moved by cleaning")
    assert [case["person"] for case in done.tables["cases"]] == ["p03"]


def test_a_stray_goes_into_the_split_of_its_owner(people: Any, clean: Clean) -> None:
    stray = people.crowd().add("p03", "9.jpg", people.vector("p17"))
    for row in people.rows:
        row["split"] = "test" if row["person"] == "p17" else None if row["person"] == "p20" else "train"
    done = clean(people)
    assert done.of(stray)["decision"] == "moved"
    splits = {}
    for row in done.tables["photos"]:
        splits.setdefault(row["person"], set()).add(row["split"])
    assert splits["p17"] == {"test"} and splits["p20"] == {None} and splits["p03"] == {"train"}


def test_strangers_alone_and_in_a_group_are_held(people: Any, clean: Clean) -> None:
    people.crowd()
    alone = people.add("p03", "9.jpg", people.vector("nobody"))
    group = [people.add("p05", f"{k}9.jpg", people.vector("somebody")) for k in range(3)]
    done = clean(people)
    assert (done.of(alone)["decision"], done.of(alone)["reason"]) == ("review", "unlike_own")
    assert {done.of(photo)["reason"] for photo in group} == {"second_group"}
    assert {done.of(photo)["component"] for photo in group} == {1}
    assert {done.of(photo)["suggested_person"] for photo in (alone, "p03/1.jpg")} == {None}
    assert not {alone, *group} & {row["photo"] for row in done.tables["photos"]}


def test_a_tie_is_settled_by_the_other_people(people: Any, clean: Clean) -> None:
    people.crowd()
    right, stray = people.add("q", "1.jpg", people.vector("q")), people.add("q", "2.jpg", people.vector("p08"))
    torn = [people.add("r", "1.jpg", people.vector("r")), people.add("r", "2.jpg", people.vector("s"))]
    done = clean(people)
    assert (done.of(right)["decision"], done.of(right)["component"]) == ("kept", 0)
    assert (done.of(stray)["decision"], done.of(stray)["new_person"]) == ("moved", "p08")
    assert {done.of(photo)["reason"] for photo in torn} == {"no_majority"}


def test_an_only_photo_stays_unless_it_is_another_persons(people: Any, clean: Clean) -> None:
    people.crowd()
    stays, looks = people.add("q", "1.jpg", people.vector("q")), people.add("r", "1.jpg", people.vector("p08"))
    done = clean(people)
    assert done.of(stays)["reason"] == "only_photo" and done.of(stays)["decision"] == "kept"
    assert done.of(looks)["reason"] in ("only_photo_like_other", "only_photo")


def test_fakes_are_judged_by_the_kept_photos(people: Any, clean: Clean) -> None:
    people.crowd()
    stray = people.add("p03", "9.jpg", people.vector("p17"))
    good = people.add("p03", "fake_1.png", people.vector("p03"), is_fake=True, generator="g")
    of_the_stray = people.add("p03", "fake_2.png", people.vectors[stray], is_fake=True, generator="g")
    orphan = people.add("x", "fake_1.png", people.vector("x"), is_fake=True, generator="g")
    done = clean(people)
    assert (done.of(good)["reason"], done.of(good)["new_person"]) == ("fake_like_claimed", "p03")
    assert done.of(of_the_stray)["reason"] == "fake_unlike_claimed"
    assert done.of(orphan)["reason"] == "fake_without_real"


def test_what_nothing_is_known_of_is_held_and_not_lost(people: Any, clean: Clean) -> None:
    people.crowd()
    rejected = people.add("p03", "9.jpg", None)
    broken = people.add("p04", "9.jpg", np.full(128, np.nan))
    unlabelled = people.add("p05", "8.jpg", people.vector("p05"), person=None)
    nameless = people.add("p05", "9.jpg", people.vector("p06"), person="")
    done = clean(people)
    assert {done.of(photo)["reason"] for photo in (rejected, broken)} == {"no_embedding"}
    assert {done.of(photo)["reason"] for photo in (unlabelled, nameless)} == {"no_person"}
    assert done.of(rejected)["suggested_person"] is None
    assert done.of(unlabelled)["suggested_person"] == "p05" and done.of(nameless)["suggested_person"] == "p06"
    assert {done.of(photo)["decision"] for photo in (rejected, broken, unlabelled, nameless)} == {"review"}


def test_folders_of_one_person_are_told_and_left_alone(people: Any, clean: Clean) -> None:
    people.crowd()
    for k in range(5):
        people.add("twin", f"{k}.jpg", people.vector("p11"))
    done = clean(people)
    (row,) = done.tables["same_people"]
    assert (row["person_a"], row["person_b"], row["verdict"]) == ("p11", "twin", "same")
    assert (row["photos_a"], row["photos_b"]) == (6, 5)
    assert {row["decision"] for row in done.tables["decisions"]} == {"kept"}
    cases = {case["person"]: case for case in done.tables["cases"]}
    assert set(cases) == {"p11", "twin"} and set(cases["twin"]["suggested_person"]) == {"p11"}


def test_of_the_same_bytes_one_photo_stays(people: Any, clean: Clean, tmp_path: Path) -> None:
    people.crowd()
    for name in ("a", "b", "c", "d", "e"):
        (tmp_path / name).write_bytes(BYTES if name != "e" else BYTES[::-1])

    def copy(folder: str, name: str, vector: np.ndarray, file: str) -> str:
        return people.add(folder, name, vector, uri=str(tmp_path / file), bytes_size=len(BYTES))

    picture = people.vector("p03")
    first, second = copy("p03", "8.jpg", picture, "a"), copy("p03", "9.jpg", picture, "b")
    elsewhere = copy("p04", "9.jpg", picture, "c")
    other_bytes = copy("p03", "90.jpg", picture, "e")
    gone = people.add("p03", "91.jpg", picture, uri=str(tmp_path / "missing"), bytes_size=len(BYTES))
    done = clean(people)
    assert done.of(first)["decision"] == "kept"
    assert {done.of(photo)["reason"] for photo in (second, elsewhere)} == {"exact_duplicate"}
    assert {done.of(photo)["decision"] for photo in (second, elsewhere)} == {"dropped"}
    assert "p03/8.jpg" in done.of(elsewhere)["evidence"]
    assert done.of(other_bytes)["decision"] == done.of(gone)["decision"] == "kept"
    found = {(row["photo"], row["duplicate_of"]): row for row in done.tables["duplicates"]}
    assert found[second, first]["kind"] == "exact"
    assert (found[elsewhere, first]["person"], found[elsewhere, first]["other_person"]) == ("p04", "p03")
    assert found[other_bytes, first]["kind"] == "near" and found[other_bytes, first]["similarity"] > 0.99


def test_reviewers_win(people: Any, clean: Clean) -> None:
    people.crowd()
    stray, rejected = people.add("p03", "9.jpg", people.vector("p17")), people.add("p04", "9.jpg", None)
    before = clean(people)
    assert before.of(stray)["decision"] == "moved" and len(before.tables["cases"]) == 2
    said = [reviewed(stray, "kept"), reviewed(rejected, "moved", "somebody new"), reviewed("p05/1.jpg", "dropped")]
    done = clean(people, decisions=said, name="again")
    assert [done.of(d.photo)["decision"] for d in said] == ["kept", "moved", "dropped"]
    assert {(done.of(d.photo)["decided_by"], done.of(d.photo)["reason"]) for d in said} == {("anna", "reviewer")}
    view = {row["photo"]: row for row in done.tables["photos"]}
    assert view[stray]["provenance"] == "kept by anna" and view[stray]["person"] == "p03"
    assert (view[rejected]["person"], view[rejected]["provenance"]) == ("somebody new", "moved by anna")
    assert "p05/1.jpg" not in view and not done.tables["cases"]
    assert done.facts["reviewed"] == 3


@pytest.mark.parametrize(
    "photo, person, words", [("p99/1.jpg", "p99", "not in the photos table"), ("p05/1.jpg", "p06", "'p05' here")]
)
def test_decisions_of_another_table_are_refused(
    people: Any, clean: Clean, tmp_path: Path, photo: str, person: str, words: str
) -> None:
    decision = ReviewDecision(photo, person, "dropped", None, "1", "anna", "digest")
    with pytest.raises(UserError, match=words) as fault:
        clean(people.crowd(), decisions=[reviewed("p05/2.jpg", "dropped"), decision])
    assert photo in str(fault.value)


def test_no_photo_is_lost_and_shards_do_not_matter(people: Any, clean: Clean) -> None:
    people.crowd(25, 7)
    rng = np.random.default_rng(0)
    for row in rng.choice(len(people.rows), 20, replace=False):
        photo = people.rows[row]["photo"]
        other = f"p{rng.integers(25):02d}"
        people.rows[row] |= {"person": other, "is_fake": bool(rng.random() < 0.2)}
        if rng.random() < 0.2:
            del people.vectors[photo]
    runs = [clean(people, photos_per_shard=size, name=str(size)) for size in (1, 30, 10_000)]
    for done in runs:
        assert done.tables == runs[0].tables
        assert sorted(row["photo"] for row in done.tables["decisions"]) == sorted(r["photo"] for r in people.rows)
        counts = Counter(row["decision"] for row in done.tables["decisions"])
        assert len(done.tables["photos"]) == counts["kept"] + counts["moved"]
        assert {k: v for k, v in done.facts["decided"].items() if ":" not in k} == dict(counts)


def test_hardest_first_and_no_more_than_asked(people: Any, clean: Clean) -> None:
    people.crowd()
    for number in range(8):
        people.add(f"p{number:02d}", "9.jpg", people.vector("nobody", noise=0.3) + number / 9 * people.vector("p20"))
    done = clean(people, name="all")
    hardness = [case["hardness"] for case in done.tables["cases"]]
    assert hardness == sorted(hardness, reverse=True) and len(hardness) == 8
    few = clean(people, max_cases=3, name="few")
    assert few.tables["cases"] == done.tables["cases"][:3] and few.facts["cases_found"] == 8
    case = done.tables["cases"][0]
    count = len(case["photo"])
    assert np.array(case["matrix"]).reshape(count, count).diagonal() == pytest.approx(1, abs=1e-5)
    assert all(len(case[name]) == count for name in ("uri", "is_fake", "component", "decision", "evidence", "open"))
    assert sum(case["open"]) == 1


def test_a_threshold_given_is_taken(people: Any, clean: Clean) -> None:
    done = clean(people.crowd(), threshold=0.999)
    assert done.facts["threshold"] == pytest.approx(0.999)
    assert "as given" in done.facts["thresholds"]["explanation"]
    assert done.facts["decided"].get("review", 0) > 0


def test_too_few_people_to_choose_from(people: Any, clean: Clean) -> None:
    with pytest.raises(UserError, match="give --threshold"):
        clean(people.crowd(2, 4))
    assert clean(people, threshold=0.3, name="given").facts["decided"]["kept"] == 8


@pytest.mark.parametrize("table", ["photos", "embeddings"])
def test_a_photo_named_twice_is_refused(people: Any, clean: Clean, table: str) -> None:
    people.crowd()
    if table == "photos":
        people.rows.append(dict(people.rows[0]))
    else:
        people.vectors = _Doubled(people.vectors)
    with pytest.raises(UserError, match=f"{table}: the table names a photo twice"):
        clean(people)


class _Doubled(dict):
    def __reversed__(self) -> Any:
        return iter([*self, next(iter(self))])
