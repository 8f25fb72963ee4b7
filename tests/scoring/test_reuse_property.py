"""Whatever changes between two runs - a photo, the aligner, its options or weights, the network, its card - what the
second makes with the embeddings of the first is what a fresh run makes."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceverify import tables
from faceverify.align import AlignConfig, build
from faceverify.datasets.rendered import RenderedConfig, write
from faceverify.faces import Stopwatch, crop_photos, embed_crops
from faceverify.images import ImageLimits
from faceverify.models import EngineConfig, load_engine
from faceverify.models.card import build as build_card
from faceverify.models.card import card_path
from faceverify.models.checkpoints import build as build_network
from faceverify.models.checkpoints import save
from faceverify.parts import read_part
from faceverify.provenance import Identifier, Origin, describe_crop
from faceverify.scoring.plan import bare_rows
from faceverify.scoring.reuse import GIVEN, GivenTable, Wanted, take_given
from faceverify.storage import Location
from faceverify.units import LocalMapper

DIM, PHOTOS, MIB = 8, 3, 1 << 20
POINTS = [38.3, 51.7, 73.5, 51.5, 56.0, 71.7, 41.5, 92.4, 70.7, 92.2]


@dataclass
class World:
    """What lies on disk, and what is asked for."""

    folder: Path
    align: AlignConfig
    clock: int = 1
    shift: float = 0.0  # of the landmarks of the first photo
    faces: list[np.ndarray] = field(default_factory=list)

    def photo(self, place: int, number: int) -> None:
        """Put a picture where another was; time goes on, as it does."""
        path = self.folder / f"{place}.jpg"
        path.write_bytes((self.folder / "drawn" / f"{number}.jpg").read_bytes())
        self.clock += 1
        os.utime(path, ns=(0, self.clock))

    def network(self, seed: int, mean: float) -> None:
        """Write a network of this seed, and a card with this mean."""
        torch.manual_seed(seed)
        path = self.folder / "net.safetensors"
        save(build_network("tiny", DIM).state_dict(), path)
        told = build_card(name="t", architecture="tiny", colour="RGB", mean=[mean] * 3, std=[127.5] * 3, dim=DIM)
        card_path(path).write_text(told.to_json())

    def rows(self) -> pa.Table:
        names = [f"{number}.jpg" for number in range(PHOTOS)]
        rows = bare_rows(pa.array(names, pa.large_string()), pa.array([str(self.folder / n) for n in names]))
        points = pa.array(
            [[x + (self.shift if i == 0 else 0) for x in POINTS] for i in range(PHOTOS)], tables.LANDMARKS
        )
        return rows.set_column(rows.schema.get_field_index("landmarks"), "landmarks", points)

    def run(self, given: Path | None, out: Path) -> int:
        """Write the embeddings table, taking what it may of another; returns how many rows were taken."""
        engine = load_engine(str(self.folder / "net.safetensors"), EngineConfig(threads=1, provider="cpu"))
        aligner, rows = build(self.align), self.rows()
        crop, photos = (
            describe_crop(self.align, aligner.name),
            Identifier("stat", self.align.method == "annotated", MIB),
        )
        wanted = Wanted(engine.card.digest, engine.card.dim, crop, photos)
        earlier = [GivenTable([Location(str(given))])] if given else []
        work = Location(str(self.folder / "work"))
        known = take_given(rows, earlier, wanted, engine.card.digest, work, LocalMapper()).given
        parts = [read_part(work / GIVEN / entry.path) for entry in (work / GIVEN).files()]
        crops = crop_photos(rows.filter(pa.array(~known)), aligner, ImageLimits(), Stopwatch(), 32, Origin(crop))
        new, rejects = embed_crops(crops, engine, Stopwatch())
        made = [one.set_column(2, "norm", pa.array([1.0] * len(one), pa.float32())) for one in (*parts, new)]
        joined = pa.concat_tables(one.cast(made[-1].schema) for one in made)
        assert joined.num_rows + rejects.num_rows == PHOTOS and known.sum() == joined.num_rows - new.num_rows
        pq.write_table(joined.sort_by("photo"), out)
        return int(known.sum())


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("drawn")
    config = RenderedConfig(persons=5, photos_per_person=1, fakes_per_person=0, photo_size=112)
    names = sorted(write(config, Location(str(home / "people"))).photos["photo"].to_pylist())
    (home / "drawn").mkdir()
    for number, name in enumerate(names):
        (home / "people" / name).rename(home / "drawn" / f"{number}.jpg")
    return home


ALIGNERS = st.sampled_from(["none", "annotated"])
CHANGES = st.one_of(
    st.tuples(st.just("photo"), st.integers(0, PHOTOS - 1), st.integers(0, 4)),
    st.tuples(st.just("network"), st.integers(0, 1), st.sampled_from([0.0, 127.5])),
    st.tuples(st.just("aligner"), ALIGNERS),
    st.tuples(st.just("landmarks"), st.sampled_from([0.0, 2.0])),
)


def apply(world: World, change: tuple) -> None:
    what, *values = change
    match what:
        case "photo":
            world.photo(*values)
        case "network":
            world.network(*values)
        case "aligner":
            world.align = AlignConfig(method=values[0])
        case "landmarks":
            world.shift = values[0]
        case "options":
            world.align = replace(world.align, **values[0])


def same(world: World) -> None:
    """A run with the embeddings of the last one, beside a fresh one."""
    first, second, fresh = (world.folder / f"{name}.parquet" for name in ("first", "second", "fresh"))
    world.run(first, second)
    world.run(None, fresh)
    made, want = pq.read_table(second), pq.read_table(fresh)
    assert made.drop_columns("embedding").equals(want.drop_columns("embedding"))
    vectors = [np.array(table["embedding"].to_pylist()) for table in (made, want)]
    np.testing.assert_allclose(*vectors, rtol=1e-4, atol=1e-5)  # PyTorch's rounding depends on the batch
    second.replace(first)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(CHANGES, min_size=1, max_size=4))
def test_the_second_run_gives_what_a_fresh_one_gives(drawn: Path, changes: list[tuple]) -> None:
    world = World(drawn, AlignConfig(method="none"))
    for place in range(PHOTOS):
        world.photo(place, place)
    world.network(0, 127.5)
    world.run(None, drawn / "first.parquet")
    assert world.run(drawn / "first.parquet", drawn / "again.parquet") == PHOTOS
    for change in changes:
        apply(world, change)
        same(world)


@pytest.mark.parametrize(
    "options",
    [
        {"policy": "largest"},
        {"min_score": 0.9},
        {"nms_iou": 0.5},
        {"detect_side": 320},
        {"method": "scrfd", "weights": "scrfd_2.5g_bnkps.onnx"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_so_it_is_with_options_and_weights_of_a_detector(
    drawn: Path, shared_data: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    world = World(drawn, AlignConfig(weights=str(shared_data / "models" / "face_detection_yunet_2026may.onnx")))
    photos = sorted((shared_data / "lfw" / "view1" / "images").rglob("*.jpg"))[:PHOTOS]
    for place, path in enumerate(photos):
        (drawn / f"{place}.jpg").write_bytes(path.read_bytes())
    world.network(0, 127.5)
    world.run(None, drawn / "first.parquet")
    assert world.run(drawn / "first.parquet", drawn / "again.parquet") == PHOTOS
    if "weights" in options:
        options = options | {"weights": str(shared_data / "models" / str(options["weights"]))}
    apply(world, ("options", options))
    assert world.run(drawn / "first.parquet", drawn / "again.parquet") == 0
    same(world)
