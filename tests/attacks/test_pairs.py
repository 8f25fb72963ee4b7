"""Similarities under attack: photo_b is the attacked one, and what cannot be attacked has none."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import stand_ins
from attacks.networks import write_network

from faceverify.attacks.gradients import GradientAttacker
from faceverify.attacks.options import Condition
from faceverify.attacks.pairs import attacked_pairs, read_photos
from faceverify.attacks.photos import vectors_schema
from faceverify.datasets.listing import pairs_table
from faceverify.errors import Reason
from faceverify.images import encode_png
from faceverify.models import EngineConfig
from faceverify.parts import write_part
from faceverify.scoring.similarity import STATES, PhotoFacts
from faceverify.storage import Location
from faceverify.vectors import unit

DIM, PER_PART = 32, 2
ON_PHOTOS = [Condition("noise", 8), Condition("blur", 2)]


def write_photos(work: Location, vectors: np.ndarray, numbers: list[int]) -> None:
    for shard in sorted({number // PER_PART for number in numbers}):
        some = [number for number in numbers if number // PER_PART == shard]
        width = vectors.shape[1] * DIM
        columns = {
            "row": some,
            "photo": [f"{number}.png" for number in some],
            "photo_version": pa.nulls(len(some), pa.string()),
            "vectors": pa.FixedSizeListArray.from_arrays(pa.array(vectors[some].reshape(-1)), width),
            "image": [encode_png(stand_ins.draw(number, 0)) for number in some],
        }
        write_part(work, "embeddings", shard, pa.table(columns, schema=vectors_schema(width)))


def listed(pairs: list[tuple[int, int, int | None]]) -> pa.Table:
    keys = [str(at) for at in range(len(pairs))]
    rows = pairs_table(keys, *([f"{pair[side]}.png" for pair in pairs] for side in (0, 1)))
    labels = pa.array([pair[2] for pair in pairs], pa.int8())
    rows = rows.set_column(rows.schema.get_field_index("label"), rows.schema.field("label"), labels)
    return rows.append_column("fault", pa.nulls(len(pairs), pa.string()))


def numbers_of(pairs: list[tuple[int, int, int | None]]) -> tuple[np.ndarray, np.ndarray]:
    one, other = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
    return one, other


def test_photo_b_is_attacked_and_photo_a_stays(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 3, DIM)).astype(np.float32)
    vectors[1, 2] = np.nan  # no face under the blur
    work = Location(str(tmp_path))
    write_photos(work, vectors, [0, 1, 2, 4])
    states = np.zeros(5, np.uint8)
    states[3] = STATES.index(Reason.NO_FACE.value)
    pairs = [(0, 1, 1), (1, 0, 1), (2, 4, 0), (3, 0, 0), (0, 3, 1)]
    numbers = numbers_of(pairs)
    photos = read_photos(work, "embeddings", np.concatenate(numbers), PER_PART, DIM, False)
    found = attacked_pairs(listed(pairs), numbers, photos, PhotoFacts(states), ON_PHOTOS, None, "{}")
    units = unit(vectors.reshape(-1, DIM)).reshape(vectors.shape).astype(float)

    def cosine(a: int, b: int, condition: int) -> float:
        return float(units[a, 0] @ units[b, condition])

    for place, name in enumerate(["similarity", "noise_8", "blur_2"]):
        values = found[name].to_pylist()
        wanted = [None if a == 3 or b == 3 or (b, place) == (1, 2) else cosine(a, b, place) for a, b, _ in pairs]
        assert [value is None for value in values] == [value is None for value in wanted]
        assert all(a is None or abs(a - b) < 1e-6 for a, b in zip(values, wanted, strict=True))
    assert found["status"].to_pylist() == ["ok", "ok", "ok", "no_face", "no_face"]


def test_gradients_push_by_the_label_and_a_pair_without_one_has_no_direction(tmp_path: Path) -> None:
    attacker = GradientAttacker(str(write_network(tmp_path / "tiny.pt")), EngineConfig(provider="cpu"), "", 3, 0)
    faces = np.stack([stand_ins.draw(number, 0) for number in range(4)])
    work = Location(str(tmp_path))
    write_photos(work, attacker.engine.embed(faces)[:, None], list(range(4)))
    pairs = [(0, 1, 1), (0, 1, 0), (2, 3, None), (3, 2, 0)]
    numbers, conditions = numbers_of(pairs), [Condition("fgsm", 2), Condition("pgd", 4)]
    photos = read_photos(work, "embeddings", np.concatenate(numbers), PER_PART, DIM, True)
    facts = PhotoFacts(np.zeros(4, np.uint8))
    found = attacked_pairs(listed(pairs), numbers, photos, facts, conditions, attacker, "{}")
    clean = found["similarity"].to_pylist()
    for condition in conditions:
        values = found[condition.name].to_pylist()
        assert values[0] < clean[0] and values[1] > clean[1] and values[2] is None and values[3] > clean[3]
    alone = attacked_pairs(
        listed(pairs).slice(3), (numbers[0][3:], numbers[1][3:]), photos, facts, conditions, attacker, "{}"
    )
    assert abs(alone["pgd_4"][0].as_py() - found["pgd_4"][3].as_py()) < 0.02, "whichever pairs are beside it"
