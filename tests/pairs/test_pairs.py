"""The sampler against its definition: counts, splits, nothing twice, the same whatever the shards."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from faceverify.errors import UserError
from faceverify.pairs.people import gather, usable
from faceverify.pairs.quotas import meetings, quotas
from faceverify.pairs.rows import csv_header, csv_rows, pairs_of, shards
from faceverify.storage import open_location
from faceverify.tables import PAIRS, validate

PEOPLE = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.tuples(st.integers(0, 7), st.integers(0, 5), st.sampled_from(["train", "val"])),
    min_size=1,
    max_size=9,
)


def draw(photos, seed=0, share=0.05, rebalance=True, per_shard=10**9):
    people = gather(usable(photos), seed, share)
    wanted = quotas(people, rebalance)
    return pa.concat_tables(pairs_of(people, wanted, persons) for persons in shards(wanted, per_shard))


def kinds(pairs):
    return Counter(pairs["kind"].to_pylist())


@given(PEOPLE, st.integers(0, 2**40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_pair_is_what_it_says(photos_of, people, seed, rebalance):
    photos = photos_of(people)
    if photos.num_rows == 0:
        return
    facts = {row["photo"]: row for row in photos.to_pylist()}
    pairs = draw(photos, seed, rebalance=rebalance)
    seen = set()
    for row in pairs.to_pylist():
        a, b = facts[row["photo_a"]], facts[row["photo_b"]]
        assert a["photo"] != b["photo"] and not a["is_fake"]
        assert (row["person_a"], row["person_b"]) == (a["person"], b["person"])
        assert a["split"] == b["split"] == row["split"]
        assert (
            row["kind"]
            == {
                (True, False): "genuine",
                (False, False): "impostor",
                (True, True): "deepfake",
            }[a["person"] == b["person"], b["is_fake"]]
        )
        assert row["label"] == (row["kind"] == "genuine")
        assert row["generator"] == b["generator"]
        seen.add(frozenset((row["photo_a"], row["photo_b"])))
    assert len(seen) == pairs.num_rows == len(set(pairs["pair"].to_pylist()))


@given(PEOPLE, st.integers(0, 2**40))
@settings(max_examples=100, deadline=None)
def test_half_genuine_a_quarter_each_as_far_as_there_are_any(photos_of, people, seed):
    pairs = draw(photos_of(people), seed) if any(r + f for r, f, _ in people.values()) else pa.table({"split": []})
    for split in ("train", "val"):
        members = [(r, f) for r, f, s in people.values() if s == split]
        genuine = sum(r * (r - 1) // 2 for r, _ in members)
        own = pairs.filter(pa.array([s == split for s in pairs["split"].to_pylist()], pa.bool_()))
        found = kinds(own) if own.num_rows else Counter()
        meet = sum(r for r, _ in members) ** 2 // 2 - sum(r * r for r, _ in members) / 2
        assert found["genuine"] == genuine
        assert found["deepfake"] == min(genuine // 2, sum(r * f for r, f in members))
        assert found["impostor"] == min(genuine // 2, round(meet))


@given(PEOPLE, st.integers(0, 2**40), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_shards_and_order_of_photos_change_nothing(photos_of, people, seed, per_shard):
    photos = photos_of(people)
    if photos.num_rows == 0:
        return
    backwards = photos.take(pa.array(range(photos.num_rows - 1, -1, -1)))
    assert draw(photos, seed).to_pylist() == draw(backwards, seed, per_shard=per_shard).to_pylist()


@given(PEOPLE)
@settings(max_examples=60, deadline=None)
def test_each_meeting_belongs_to_exactly_one_of_two(photos_of, people):
    photos = photos_of(people)
    if photos.num_rows == 0:
        return
    everybody = gather(photos, 0, 0.05)
    real = [(n, s) for n, s in zip(everybody.reals.tolist(), everybody.split.tolist(), strict=True)]
    whole = sum(n * m for i, (n, s) in enumerate(real) for m, t in real[:i] if s == t)
    assert meetings(everybody).sum() == whole


@pytest.mark.parametrize("run", range(5))
def test_counts_of_the_reference(golden, photos_of, run):
    """tests/golden/pair_generation.json: the reference sampler's counts for the same people and split."""
    reference = json.loads((golden / "pair_generation.json").read_text())
    made = reference["runs"][run]
    counts: dict[str, list[int]] = {}
    for name, fake in reference["meta"][made["meta"]].items():
        counts.setdefault(name.split("/")[0], [0, 0])[fake] += 1
    people = {p: (*counts[p], split) for split in ("train", "val") for p in made[f"{split}_persons"] if p in counts}
    pairs = draw(photos_of(people), made["python_random_seed"])
    for split in ("train", "val"):
        own = kinds(pairs.filter(pa.array([s == split for s in pairs["split"].to_pylist()], pa.bool_())))
        want = made[split]
        assert (own["genuine"], own["deepfake"]) == (want["real_real"], want["real_fake"])
        assert own["impostor"] == want["real_other"]


def test_another_seed_draws_others(photos_of):
    photos = photos_of({f"p{i}": (5, 3) for i in range(40)})
    first, second = ({tuple(r.values()) for r in draw(photos, seed).to_pylist()} for seed in (1, 2))
    assert len(first) == len(second) and len(first - second) > 100


def test_a_share_of_the_people_validates(photos_of):
    pairs = draw(photos_of({f"p{i}": (3, 2) for i in range(200)}), seed=3)
    people = {split: set() for split in ("train", "val")}
    for row in pairs.select(["split", "person_a", "person_b"]).to_pylist():
        people[row["split"]] |= {row["person_a"], row["person_b"]}
    assert (len(people["train"]), len(people["val"])) == (190, 10)
    assert not people["train"] & people["val"]


def test_impostors_are_anybody(photos_of):
    """Every photo is met about equally often: 400 photos, 9,500 meetings by a number of seeds."""
    photos = photos_of({f"p{i:02d}": (20, 8) for i in range(20)})
    met = Counter(
        row["photo_b"]
        for seed in range(5)
        for row in draw(photos, seed, share=0).to_pylist()
        if row["kind"] == "impostor"
    )
    assert len(met) == 400
    assert chisquare(list(met.values())).pvalue > 1e-3


def test_people_without_fakes_are_stood_in_for(photos_of):
    photos = photos_of({"without": (9, 0), "with": (4, 20), "too": (4, 20)})
    assert kinds(draw(photos, share=0))["deepfake"] == (36 + 6 + 6) // 2
    assert kinds(draw(photos, share=0, rebalance=False))["deepfake"] == 6


def test_rows_have_the_columns_of_the_table(photos_of, tmp_path):
    import pyarrow.parquet as pq

    pairs = draw(photos_of({"a": (3, 1), "b": (3, 1)}))
    pq.write_table(pairs, tmp_path / "pairs.parquet", store_schema=False)
    validate(pq.read_schema(tmp_path / "pairs.parquet"), PAIRS, "pairs")


def test_csv_under_the_names_of_the_reference(photos_of, tmp_path):
    from faceverify.datasets import PairListConfig
    from faceverify.datasets.pair_lists import open_pairs

    pairs = draw(photos_of({"a": (3, 2), "b": (3, 2)}), share=0)
    target = open_location(str(tmp_path / "pairs.csv"))
    target.write_bytes(csv_header() + csv_rows(pairs.slice(0, 3)) + csv_rows(pairs.slice(3)))
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    assert lines[0].replace('"', "") == "pathA,pathB,label,deepfake_a,deepfake_b,split"
    back = pa.Table.from_batches(open_pairs(target, PairListConfig()))
    for name in ("photo_a", "photo_b", "label", "kind"):
        assert back[name].to_pylist() == pairs[name].to_pylist()


def test_mistakes_are_named(photos_of):
    photos = photos_of({"a": (3, 1)})
    with pytest.raises(UserError, match=r"'a/0\.jpg' is there more than once"):
        gather(pa.concat_tables([photos, photos]), 0, 0.05)
    torn = photos.set_column(photos.schema.get_field_index("split"), "split", pa.array(["train", None, None, None]))
    with pytest.raises(UserError, match="person 'a' has photos in two splits"):
        gather(torn, 0, 0.05)


@given(PEOPLE, st.integers(0, 2**40), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_more_deepfakes_to_learn_from_and_nothing_else_moves(photos_of, people, seed, deepfakes):
    if not any(r + f for r, f, _ in people.values()):
        return
    photos = photos_of(people)
    everybody = gather(usable(photos), seed, 0.05)
    usual, more = quotas(everybody, True), quotas(everybody, True, deepfakes)
    assert (more.genuine == usual.genuine).all() and (more.impostor == usual.impostor).all()
    for number, split in enumerate(everybody.splits):
        members = everybody.split == number
        possible = int((everybody.reals * everybody.fakes)[members].sum())
        wanted = int(everybody.genuine[members].sum()) // 2 * (deepfakes if split == "train" else 1)
        assert more.deepfake[members].sum() == min(wanted, possible)
    pairs = pairs_of(everybody, more, range(len(everybody.names)))
    photo_a, photo_b = (pairs[name].to_pylist() for name in ("photo_a", "photo_b"))
    assert len({frozenset(pair) for pair in zip(photo_a, photo_b, strict=True)}) == len(pairs)


@pytest.mark.parametrize("people, expected", [(1, 0), (2, 1), (3, 1), (4, 2), (10, 2), (60, 3)])
def test_both_splits_have_people_however_few_there_are(photos_of, people, expected):
    photos = photos_of({f"p{i:02d}": (3, 1, None) for i in range(people)})
    for seed in range(5):
        everybody = gather(usable(photos), seed, 0.05)
        val = [everybody.splits[number] for number in everybody.split].count("val")
        assert val == expected
        few = gather(usable(photos), seed, 0.95)
        assert [few.splits[number] for number in few.split].count("train") == max(expected, people and people // 20) * (
            people > 1
        )
    assert "val" not in draw(photos, share=0.0)["split"].to_pylist()
    assert set(draw(photos, share=1.0)["split"].to_pylist()) == {"val"}


def test_few_people_in_val_can_give_genuine_and_impostor_pairs(photos_of):
    photos = photos_of({f"p{i}": (3 if i < 2 else 1, 0, None) for i in range(8)})
    for seed in range(10):
        val = draw(photos, seed).filter(pa.compute.field("split") == "val")
        assert set(val["kind"].to_pylist()) == {"genuine", "impostor"}
