"""What each fake is made of, for any people: the person's own photos, somebody else of the split, the nearest pose."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify.errors import BadData, Reason
from faceverify.fakes import GENERATORS
from faceverify.fakes.choosing import FakeId, choose, distances, seed_of, wanted_of
from faceverify.fakes.photo_pool import gather

SWAP, SELF = GENERATORS["landmark_swap"], GENERATORS["self_blend"]
PEOPLE = st.dictionaries(
    st.text("abc", min_size=1, max_size=2),
    st.tuples(st.integers(0, 4), st.integers(0, 1), st.just(0), st.sampled_from(["train", None])),
    min_size=1,
    max_size=8,
).filter(lambda people: any(good for good, *_ in people.values()))


@given(PEOPLE, st.integers(0, 2**40), st.integers(1, 20), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_a_choice_keeps_to_the_rules(photos_of, people, seed, candidates, source_photos):
    pool = gather(photos_of(people), seed)
    needs = replace(SWAP, source_photos=source_photos)
    for person, name in enumerate(pool.names.to_pylist()):
        good, _, _, split = people[name]
        others = sum(n for p, (n, _, _, s) in people.items() if s == split and p != name)
        for index in range(3):
            try:
                choice = choose(pool, FakeId(person, index), needs, candidates)
            except BadData as fault:
                assert fault.reason == (Reason.NO_LANDMARKS if not good else Reason.NO_TARGET)
                assert not good or not others
                continue
            assert len(set(choice.sources)) == len(choice.sources) == min(source_photos, good)
            assert all(pool.person_of(photo) == name for photo in choice.sources)
            host = pool.person_of(choice.target)
            assert host != name and people[host][3] == split
            assert choose(pool, FakeId(person, index), replace(needs, target=False), candidates).target is None


@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 2**40), st.integers(0, 20), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_generators_share_the_fakes_evenly(photos_of, per_person, generators, seed, start, persons):
    pool = gather(photos_of({f"p{i:02d}": (1, 0, 0) for i in range(30)}), seed)
    some = range(start, min(30, start + persons))
    shares = [wanted_of(pool, some, per_person, turn, generators) for turn in range(generators)]
    everything = Counter(wanted for share in shares for wanted in share)
    assert everything == Counter(FakeId(person, index) for person in some for index in range(per_person))
    for person in some:
        counts = [sum(wanted.person == person for wanted in share) for share in shares]
        assert max(counts) - min(counts) <= 1


def test_who_begins_is_drawn_by_lot(photos_of):
    pool = gather(photos_of({f"p{i:03d}": (1, 0, 0) for i in range(200)}), 0)
    assert 70 < len(wanted_of(pool, range(200), 1, 0, 2)) < 130


def test_photos_of_the_person_take_turns(photos_of):
    pool = gather(photos_of({"a": (4, 0, 0), "b": (4, 0, 0)}), 1)
    used = [choose(pool, FakeId(0, index), SELF, 1).sources[0] for index in range(8)]
    assert sorted(used[:4]) == [0, 1, 2, 3] and used[4:] == used[:4]
    three = replace(SELF, source_photos=3)
    assert [len(choose(pool, FakeId(0, index), three, 1).sources) for index in range(3)] == [3, 3, 3]


def test_the_nearest_of_the_candidates_is_taken_and_more_candidates_are_nearer(photos_of):
    pool = gather(photos_of({f"p{i:02d}": (5, 0, 0) for i in range(40)}), 2)
    means = []
    for candidates in (1, 4, 32):
        apart = []
        for person in range(40):
            choice = choose(pool, FakeId(person, 0), SWAP, candidates)
            apart.append(distances(pool, choice.sources[0], [choice.target])[0])
        means.append(np.mean(apart))
    assert means[0] > means[1] > means[2]


def test_distance_is_of_the_pose_and_of_the_resolution_that_lacks(photos_of):
    pool = gather(photos_of({"a": (3, 0, 0)}), 0)
    turned = pool.poses.copy()
    turned[1] += np.float32([3, 4])
    pool = replace(pool, poses=np.stack([turned[0], turned[0] + np.float32([3, 4]), turned[0]]))
    pool = replace(pool, sizes=np.float32([1, 0.25, 4]))
    assert np.allclose(distances(pool, 0, [0, 1, 2]), [0, 5, 4])


def test_seeds_differ_and_depend_on_run_person_and_number_alone(photos_of):
    people = {f"p{i:02d}": (1, 0, 0) for i in range(20)}
    pool, other = gather(photos_of(people), 0), gather(photos_of(people), 1)
    seeds = [seed_of(c, FakeId(p, i)) for c in (pool, other) for p in range(20) for i in range(4)]
    assert len(set(seeds)) == 160 and all(0 <= seed < 2**63 for seed in seeds)
    fewer = gather(photos_of({name: people[name] for name in ("p03", "p17")}), 0)
    assert seed_of(fewer, FakeId(1, 2)) == seed_of(pool, FakeId(17, 2))


def test_what_is_missing_is_said(photos_of):
    pool = gather(photos_of({"a": (2, 0, 0), "b": (0, 2, 0)}), 0)
    with pytest.raises(BadData, match="no_target: nobody else"):
        choose(pool, FakeId(0, 0), SWAP, 4)
    with pytest.raises(BadData, match="no_landmarks: no real photo of the person"):
        choose(pool, FakeId(1, 0), SWAP, 4)
