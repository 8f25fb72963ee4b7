"""Patches of drawn people as a table."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from faceverify.align import AlignConfig
from faceverify.align import build as build_aligner
from faceverify.faces import Stopwatch
from faceverify.forensics.material import ForensicMaterial, cut_patches, read_material, wanted_rows
from faceverify.images import ImageLimits
from faceverify.rendered import RenderedConfig, write
from faceverify.storage import Location
from faceverify.training.batches import MemoryImages


@dataclass(frozen=True)
class Patches:
    """The photos table of 8 people with 3 real photos and a fake each, and the file of their patches."""

    photos: pa.Table
    file: Path

    def material(self, share: float = 0.25) -> ForensicMaterial:
        return read_material([Location(str(self.file))], share, 0)

    def images(self) -> MemoryImages:
        return MemoryImages(pq.read_table(self.file)["image"])


@pytest.fixture(scope="session")
def patches(tmp_path_factory: pytest.TempPathFactory) -> Patches:
    home = tmp_path_factory.mktemp("patches")
    config = RenderedConfig(persons=8, photos_per_person=3, fakes_per_person=1, photo_size=224)
    photos = write(config, Location(str(home / "photos"))).photos
    aligner = build_aligner(AlignConfig(method="annotated"))
    rows, rejects = cut_patches(wanted_rows(photos, None), aligner, ImageLimits(), Stopwatch())
    assert not rejects.num_rows
    pq.write_table(rows, home / "patches.parquet")
    return Patches(photos, home / "patches.parquet")
