"""Rendered photos as files and as rows of `photos`, with planned label errors."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from faceverify import images, tables
from faceverify.datasets.listing import Listing
from faceverify.errors import UserError
from faceverify.rendered import RenderedConfig
from faceverify.rendered.fakes import GENERATORS, fake_landmarks, render_fake
from faceverify.rendered.photo import LABELS, photo_landmarks, render_photo
from faceverify.storage import Location

CONFIG_FILE = "rendered.json"
JPEG_QUALITY = 92
PHOTOS = pa.schema([*tables.PHOTOS, pa.field("true_person", pa.string())])


@dataclass(frozen=True, slots=True)
class Slot:
    """One file of the set: where it is filed, and what it shows.

    `shows` is the person seen (another than `person` if the label is wrong), `index` the number of the photo or fake
    among that person's.
    """

    photo: str
    person: int
    shows: int
    index: int
    is_fake: bool
    split: str


def plan(config: RenderedConfig) -> list[Slot]:
    """Every file of the set, in the order of its path. Cheap: nothing is drawn."""
    train = round(config.train_share * config.persons)
    val = train + round(config.val_share * config.persons)
    splits = ["train" if person < train else "val" if person < val else "test" for person in range(config.persons)]
    wrong = _label_errors(config, splits)
    slots = []
    for person, split in enumerate(splits):
        folder = person_name(person)
        for index in range(config.fakes_per_person):
            slots.append(Slot(f"{folder}/fake_{index:02d}.jpg", person, person, index, True, split))
        for index in range(config.photos_per_person):
            # A stranger's photo is one more of theirs, not a copy of one that is filed correctly.
            other = wrong.get((person, index))
            shows, number = (
                (person, index) if other is None else (other, (person + 1) * config.photos_per_person + index)
            )
            slots.append(Slot(f"{folder}/real_{index:02d}.jpg", person, shows, number, False, split))
    return slots


def person_name(person: int) -> str:
    """The name of a person's folder."""
    return f"person_{person:04d}"


def render(config: RenderedConfig, slot: Slot) -> bytes:
    """The JPEG of one file of the plan; a pure function, so slots may be drawn by parallel tasks in any order."""
    draw = render_fake if slot.is_fake else render_photo
    rgb = draw(config, slot.shows, slot.index)[0]
    return images.encode_jpeg(rgb, JPEG_QUALITY)


def row(config: RenderedConfig, slot: Slot, out: Location, size: int) -> dict[str, object]:
    """The row of `photos` (with `true_person`) of a file of `size` bytes that lies, or will lie, under `out`."""
    where = fake_landmarks if slot.is_fake else photo_landmarks
    return {
        "photo": slot.photo,
        "uri": (out / slot.photo).uri,
        "person": person_name(slot.person),
        "is_fake": slot.is_fake,
        "generator": GENERATORS[slot.index % 2] if slot.is_fake else None,
        "split": slot.split,
        "landmarks": where(config, slot.shows, slot.index).ravel(),
        "bytes_size": size,
        "true_person": person_name(slot.shows),
    }


def write(config: RenderedConfig, out: Location) -> Listing:
    """Draw the whole set into `out` (`<person>/real_00.jpg`, `<person>/fake_00.jpg`, ...) and list it."""
    sizes = {slot.photo: write_slot(config, slot, out) for slot in plan(config)}
    (out / CONFIG_FILE).write_bytes(_as_json(config))
    return _list(config, out, sizes)


def read(source: Location, config: RenderedConfig) -> Listing:
    """List the set in `source`, drawing first what is not there; started again, it draws nothing twice.

    Raises:
        UserError: the folder holds a set of another configuration.
    """
    start(config, source)
    sizes = {entry.path: entry.size for entry in source.files()}
    for slot in plan(config):
        if slot.photo not in sizes:
            sizes[slot.photo] = write_slot(config, slot, source)
    return _list(config, source, sizes)


def start(config: RenderedConfig, source: Location) -> None:
    """Note in `source` what is drawn there.

    Raises:
        UserError: the folder holds a set of another configuration.
    """
    note = source / CONFIG_FILE
    if not note.exists():
        note.write_bytes(_as_json(config))
    elif note.read_bytes() != _as_json(config):
        raise UserError(f"'{source}' holds people drawn with other settings ({CONFIG_FILE}); choose an empty folder.")


def write_slot(config: RenderedConfig, slot: Slot, out: Location) -> int:
    """Draw one file of the plan; returns its size in bytes."""
    data = render(config, slot)
    (out / slot.photo).write_bytes(data)
    return len(data)


def _list(config: RenderedConfig, out: Location, sizes: dict[str, int]) -> Listing:
    rows = [row(config, slot, out, sizes[slot.photo]) for slot in plan(config)]
    return Listing(photos=pa.Table.from_pylist(rows, PHOTOS), pairs=None, rejects=tables.REJECTS.empty_table())


def _as_json(config: RenderedConfig) -> bytes:
    return (json.dumps(asdict(config), indent=1) + "\n").encode()


def _label_errors(config: RenderedConfig, splits: list[str]) -> dict[tuple[int, int], int]:
    """(person, photo) -> who is really seen, for exactly the configured share of the real photos.

    The stranger is of the same split where that has a second person, so that splits stay apart.
    """
    rng = np.random.default_rng((config.seed, LABELS))
    total = config.persons * config.photos_per_person
    chosen = rng.choice(total, round(config.label_errors * total), replace=False)
    errors = {}
    for number in sorted(chosen.tolist()):
        person, index = divmod(number, config.photos_per_person)
        others = [p for p in range(config.persons) if p != person]
        same = [p for p in others if splits[p] == splits[person]]
        errors[person, index] = int(rng.choice(same or others))
    return errors
