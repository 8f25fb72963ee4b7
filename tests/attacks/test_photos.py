"""Photos under every degradation: each crop and embedding is that of the degraded photo, and lost faces are known."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import stand_ins

from faceverify.align import AlignConfig, Aligner, FoundFace, build
from faceverify.attacks.degrade import degrade
from faceverify.attacks.options import Condition
from faceverify.attacks.photos import attacked_crops, embedded
from faceverify.errors import BadData, Reason
from faceverify.faces import Crops, Stopwatch
from faceverify.images import ImageLimits, encode_png
from faceverify.models import EngineConfig, load_engine
from faceverify.provenance import Origin
from faceverify.scoring.plan import PLANNED

CONDITIONS = (Condition("noise", 16), Condition("jpeg", 10))
LIMITS = ImageLimits()


class Calm(Aligner):
    """An aligner that finds no face where neighbouring pixels differ much."""

    name = "calm"

    def find(self, images: list[np.ndarray], landmarks: list[np.ndarray | None]) -> list[FoundFace | BadData]:
        rough = [float(np.abs(np.diff(image.astype(int), axis=0)).mean()) for image in images]
        return [BadData(Reason.NO_FACE, "") if value > 10 else FoundFace(None, None, None) for value in rough]


@pytest.fixture
def rows(tmp_path: Path) -> pa.Table:
    paths = [*stand_ins.write_photos(tmp_path / "photos", 3, 1), tmp_path / "photos" / "gone.png"]
    names = [path.name for path in paths]
    columns = {f.name: pa.nulls(4, f.type) for f in PLANNED} | {
        "photo": pa.array(names),
        "uri": pa.array([str(path) for path in paths]),
    }
    return pa.table(columns, schema=PLANNED).add_column(0, "row", pa.array([7, 8, 9, 10]))


def crops_of(rows: pa.Table, aligner: Aligner) -> Crops:
    return attacked_crops(rows, aligner, LIMITS, CONDITIONS, 3, Stopwatch(), Origin("crop", "stat"))


def test_every_crop_is_that_of_the_degraded_photo(rows: pa.Table) -> None:
    crops = crops_of(rows, build(AlignConfig(method="none")))
    assert crops.rejects["photo"].to_pylist() == ["gone.png"]
    keys = list(zip(crops.rows["row"].to_pylist(), crops.rows["condition"].to_pylist(), strict=True))
    assert sorted(keys) == [(row, condition) for row in (7, 8, 9) for condition in (0, 1, 2)]
    for (row, number), face in zip(keys, crops.faces, strict=True):
        plain = stand_ins.draw(row - 7, 0)
        wanted = degrade(plain, CONDITIONS[number - 1], 112, f"{row - 7}_0.png", 3) if number else plain
        assert (face == wanted).all()


def test_embeddings_of_a_photo_lie_in_one_row(rows: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "photos" / "1_0.png").write_bytes(encode_png(np.zeros((112, 112, 3), np.uint8)))
    engine = load_engine(str(stand_ins.write_embedder(tmp_path / "net.onnx", 16)), EngineConfig())
    crops = crops_of(rows, Calm())
    table, rejects = embedded(crops, engine, len(CONDITIONS), True, Stopwatch())
    assert sorted(rejects["photo"].to_pylist()) == ["1_0.png", "gone.png"], "black: an embedding of zeros"
    assert table["row"].to_pylist() == [7, 9]
    vectors = np.array(table["vectors"].to_pylist(), np.float32).reshape(2, 3, 16)
    for place, person in enumerate((0, 2)):
        plain = stand_ins.draw(person, 0)
        assert np.allclose(vectors[place, 0], engine.embed(plain[None])[0], rtol=1e-5)
        worse = degrade(plain, CONDITIONS[1], 112, f"{person}_0.png", 3)
        assert np.allclose(vectors[place, 2], engine.embed(worse[None])[0], rtol=1e-5)
        assert table["image"][place].as_py() == encode_png(plain)
    assert np.isnan(vectors[:, 1]).all(), "no face is found under the noise"
    without, _ = embedded(crops, engine, len(CONDITIONS), False, Stopwatch())
    assert without["image"].null_count == 2
