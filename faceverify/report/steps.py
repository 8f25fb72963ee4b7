"""Sections of a report that show what cleaning, fakes and pairs made, with pictures, from the tables they left."""

from collections import Counter
from typing import Any

import numpy as np

from faceverify.errors import BadData
from faceverify.images import ImageLimits, decode
from faceverify.inputs import run_manifest, stream_table, table_files
from faceverify.report.page import Picture, Section, Table
from faceverify.report.thumbnails import thumbnail
from faceverify.storage import Location, open_location

SIDE = 128
LEFT = ("moved", "review", "dropped")


def labels_section(photos: Location, cleaned: Location, examples: int = 5) -> Section:
    """What cleaning did, judged by the column `true_person` of the photos that it was given.

    Args:
        photos: the photos table before cleaning, with `true_person`.
        cleaned: output folder of `clean`.
        examples: how many wrongly filed photos to show.
    """
    truth = {
        row["photo"]: row for row in rows_of(photos, "photos", ["photo", "uri", "person", "true_person", "is_fake"])
    }
    decisions = [row for row in rows_of(cleaned, "decisions") if not row["is_fake"]]
    wrong = [row for row in decisions if truth[row["photo"]]["true_person"] != row["person"]]
    right = [row for row in decisions if truth[row["photo"]]["true_person"] == row["person"]]
    found = [row for row in wrong if row["decision"] in LEFT]
    named = [row for row in found if row["suggested_person"] == truth[row["photo"]]["true_person"]]
    table = Table(
        columns=("photos", "in all", *("kept", "moved", "review", "dropped"), "true person named"),
        rows=(
            ("under a wrong name", len(wrong), *_decided(wrong), len(named)),
            ("under the right name", len(right), *_decided(right), "-"),
        ),
    )
    typical = {row["person"]: row for row in decisions if row["decision"] == "kept"}
    pictures: list[Picture] = []
    for row in found[:examples]:
        pictures += _stray(row, truth, typical)
    share = f"{len(found) / max(1, len(wrong)):.0%}"
    return Section(
        title="Wrong labels",
        paragraphs=(
            f"{len(wrong)} of {len(decisions)} real photos were filed under a wrong name on purpose. Cleaning compared "
            f"the embeddings of each person's photos and took {len(found)} of them ({share}) from the wrong person.",
            "In threes: the photo, the person it was filed under, the person that cleaning suggests.",
        ),
        pictures=tuple(pictures),
        table=table,
    )


def fakes_section(made: Location, examples: int = 2) -> Section:
    """What each generator made, beside what it was made of.

    Args:
        made: output folder of `fakes`.
        examples: fakes of each generator to show.
    """
    rows = rows_of(made, "photos")
    places = {row["photo"]: row["uri"] for row in rows}
    fakes = [row for row in rows if row["is_fake"] and row["source_photo"]]
    pictures: list[Picture] = []
    for generator in sorted({row["generator"] for row in fakes}):
        own = [row for row in fakes if row["generator"] == generator]
        for row in own[:: max(1, len(own) // examples)][:examples]:
            pictures.append(_picture(places[row["source_photo"]], f"{row['person']}, real"))
            if row["target_photo"] and row["target_photo"] != row["source_photo"]:
                pictures.append(
                    _picture(places[row["target_photo"]], f"goes into this photo of {row['target_person']}")
                )
            pictures.append(_picture(row["uri"], f"deepfake of {row['person']}: {generator}"))
    counts = Counter(row["generator"] for row in fakes)
    return Section(
        title="Deepfakes made",
        paragraphs=("Made from the cleaned photos. Each fake claims to be the person of the real photo before it.",),
        pictures=tuple(pictures),
        table=Table(columns=("generator", "fakes"), rows=tuple(sorted(counts.items()))),
    )


def pairs_section(made: Location) -> Section:
    """How many pairs of each kind each split has.

    Args:
        made: output folder of `pairs`.
    """
    facts = run_manifest(made) or {}
    splits: dict[str, dict[str, Any]] = facts["splits"]
    columns = ("split", "people", "genuine", "impostor", "deepfake")
    rows = tuple((name, *(split[column] for column in columns[1:])) for name, split in splits.items())
    return Section(
        title="Pairs",
        paragraphs=("Half genuine, a quarter with another person, a quarter with the person's own deepfakes.",),
        table=Table(columns=columns, rows=rows),
    )


def rows_of(folder: Location, table: str, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """The rows of a small table."""
    return [row for piece in stream_table(table_files(folder, table), columns) for row in piece.to_pylist()]


def _decided(rows: list[dict[str, Any]]) -> list[int]:
    counts = Counter(row["decision"] for row in rows)
    return [counts[name] for name in ("kept", *LEFT)]


def _stray(row: dict[str, Any], truth: dict[str, Any], typical: dict[str, Any]) -> list[Picture]:
    pictures = [_picture(truth[row["photo"]]["uri"], f"filed under {row['person']}: {row['decision']}")]
    for who, person in (("the others of", row["person"]), ("suggested:", row["suggested_person"])):
        if person in typical:
            pictures.append(_picture(truth[typical[person]["photo"]]["uri"], f"{who} {person}"))
    return pictures


def _picture(uri: str, caption: str) -> Picture:
    try:
        pixels = decode(open_location(uri).read_bytes(), ImageLimits())
    except BadData as fault:
        pixels, caption = np.full((SIDE, SIDE, 3), 230, np.uint8), f"{caption} ({fault})"
    return Picture(image=thumbnail(pixels, SIDE), caption=caption)
