"""The options of every dataset layout and of lists of pairs."""

from dataclasses import dataclass, field
from typing import Literal

from faceverify.config import Input
from faceverify.rendered import RenderedConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class FoldersConfig:
    """`<person>/<photo>` at any depth. Fakes are identified by a CSV, else by file name, else by folders."""

    levels: str = "auto"
    """What the folders mean from the source down: person, split/person, label/person, split/label/person,
    label/generator/person ...; auto = found by their names (train, val, real, fake ...), and asked where unclear."""
    fake_folder: str = "fake"
    """Folder below the person's that holds fakes: <person>/fake/<photo> or <person>/fake/<generator>/<photo>."""
    fake_pattern: str = ""
    """Glob on the file name that marks fakes, e.g. fake_*; empty = sub-folders mark them."""
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

    layout: Literal[
        "folders", "kryptonite", "lfw", "calfw", "cplfw", "cfp_fp", "cfp_ff", "celeba", "insightface_bin", "rendered"
    ] = "folders"
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
