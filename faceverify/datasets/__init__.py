"""Dataset layouts: one file per layout, each turning a source into rows of `photos` (and `pairs`, where it has them).

    listing = read(open_location("/data/lfw"), DatasetConfig(layout="lfw"))

Listing opens no photo: `bytes_size` comes from the folder listing, and whether a file holds a picture is found out when
it is decoded. Photos are keyed by their path relative to the photos' root.
"""

import importlib
from dataclasses import dataclass, field
from typing import Literal

from faceverify.config import Input
from faceverify.datasets.listing import Listing
from faceverify.errors import UserError
from faceverify.matching import is_picture
from faceverify.rendered import RenderedConfig
from faceverify.storage import Location

__all__ = [
    "LAYOUTS",
    "DatasetConfig",
    "FoldersConfig",
    "InsightfaceBinConfig",
    "KryptoniteConfig",
    "LfwConfig",
    "Listing",
    "PairListConfig",
    "RenderedConfig",
    "looks_like",
    "read",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldersConfig:
    """`<person>/<photo>` at any depth. Fakes are told by a CSV, else by file name, else by folders."""

    levels: str = "auto"
    """What the folders mean from the source down: person, split/person, label/person, split/label/person,
    label/generator/person ...; auto = found by their names (train, val, real, fake ...), and asked where unclear."""
    fake_folder: str = "fake"
    """Folder below the person's that holds fakes: <person>/fake/<photo> or <person>/fake/<generator>/<photo>."""
    fake_pattern: str = ""
    """Glob on the file name that tells fakes, e.g. fake_*; empty = sub-folders tell."""
    generator_pattern: str = ""
    """Regular expression searched in a fake's file name, with a group named generator, e.g.
    fake_(?P<generator>[a-z_]+?)(_[0-9]+)?[.]; empty = the generator is not in the file name."""
    fake_csv: Input = ""
    """CSV that names every photo: columns photo (path relative to the source), is_fake (0 or 1) and, if known,
    generator; empty = none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KryptoniteConfig:
    """`images/<person>/<photo>` with `meta.json`, or the test set `images/<pair>/{0,1}.jpg` without it."""

    images: str = "images"
    """Folder of the photos inside the source."""
    meta: str = "meta.json"
    """File inside the source: {"person/photo.jpg": 0 if real, 1 if fake}. If it is not there, folders are pairs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LfwConfig:
    """`<Person>/<Person>_0001.jpg` with `pairs.txt` beside or inside the images' folder."""

    images: str = ""
    """Folder of the photos inside the source; empty = "images" if there is one, else the source itself."""
    pairs: str = "pairs.txt"
    """Pairs file inside the source or inside the photos' folder; empty = photos only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InsightfaceBinConfig:
    """A verification `.bin`: a pickle of encoded photos and of booleans, one per pair."""

    out: str = ""
    """Folder to which the photos are written (they have no files of their own), local or s3://. Required."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetConfig:
    """How the photos lie in the source."""

    layout: Literal["folders", "kryptonite", "lfw", "celeba", "insightface_bin", "rendered"] = "folders"
    """Layout of the source."""
    folders: FoldersConfig = field(default_factory=FoldersConfig)
    """Options of the layout folders."""
    kryptonite: KryptoniteConfig = field(default_factory=KryptoniteConfig)
    """Options of the layout kryptonite."""
    lfw: LfwConfig = field(default_factory=LfwConfig)
    """Options of the layout lfw."""
    insightface_bin: InsightfaceBinConfig = field(default_factory=InsightfaceBinConfig)
    """Options of the layout insightface_bin."""
    rendered: RenderedConfig = field(default_factory=RenderedConfig)
    """Options of the layout rendered."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairListConfig:
    """How to read a list of pairs."""

    format: Literal["auto", "csv", "parquet", "lfw"] = "auto"
    """Format of the list; auto = parquet for a folder or a Parquet file, lfw for *.txt without a header, else csv."""
    delimiter: str = ""
    """Character between the columns of a CSV; empty = comma, semicolon or tab, whichever makes sense of the header."""
    strip_prefix: str = ""
    """Folder taken off the front of every path that starts with it, for lists of absolute paths; empty = none."""
    split: str = ""
    """Only the pairs whose column `split` says this; empty = all."""


# Imported when first read, so that naming a layout costs nothing.
LAYOUTS = {
    "folders": "faceverify.datasets.folders",
    "kryptonite": "faceverify.datasets.kryptonite",
    "lfw": "faceverify.datasets.lfw",
    "celeba": "faceverify.datasets.celeba",
    "insightface_bin": "faceverify.datasets.insightface_bin",
    "rendered": "faceverify.rendered",
}


def looks_like(source: Location) -> list[str]:
    """The layouts that a source may be of, by what tells them apart: for messages."""
    from faceverify.datasets import celeba

    if source.is_file():
        return ["insightface_bin"] if source.name.endswith(".bin") else []
    if celeba.holds_images(source):
        return ["celeba"]
    found = []
    if (source / "images").is_dir() and (source / "meta.json").is_file():
        found.append("kryptonite")
    if any((source / name).is_file() for name in ("pairs.txt", "images/pairs.txt")):
        found.append("lfw")
    if any("/" in entry.path and is_picture(entry.path) for entry in source.files()):
        found.append("folders")
    return found


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source` in the layout that `config` names.

    Raises:
        UserError: an unknown layout, or whatever contradicts it, in one sentence.
    """
    if config.layout not in LAYOUTS:
        raise UserError(f"layout: '{config.layout}' is not known; choose one of {', '.join(LAYOUTS)}.")
    options = config.rendered if config.layout == "rendered" else config
    return importlib.import_module(LAYOUTS[config.layout]).read(source, options)
