"""Dataset layouts: one file per layout, each turning a source into rows of `photos` (and `pairs`, where it has them).

    listing = read(open_location("/data/lfw"), DatasetConfig(layout="lfw"))

Listing opens no photo: `bytes_size` comes from the folder listing, and whether a file holds a picture is found out when
it is decoded. Photos are keyed by their path relative to the photos' root.
"""

import importlib

from faceverify.datasets.listing import Listing
from faceverify.datasets.options import (
    DatasetConfig,
    FoldersConfig,
    InsightfaceBinConfig,
    KryptoniteConfig,
    LfwConfig,
    PairListConfig,
)
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


# Imported when first read, so that naming a layout costs nothing.
LAYOUTS = {
    "folders": "faceverify.datasets.folders",
    "kryptonite": "faceverify.datasets.kryptonite",
    "lfw": "faceverify.datasets.lfw",
    "calfw": "faceverify.datasets.two_lines",
    "cplfw": "faceverify.datasets.two_lines",
    "cfp_fp": "faceverify.datasets.cfp",
    "cfp_ff": "faceverify.datasets.cfp",
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
    found += [name for name in ("calfw", "cplfw") if (source / f"pairs_{name.upper()}.txt").is_file()]
    if (source / "Protocol" / "Split").is_dir():
        found += ["cfp_fp", "cfp_ff"]
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
