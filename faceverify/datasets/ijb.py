"""The lists of IJB-B and IJB-C as insightface publishes them, checked against each other before any work begins.

    meta/ijbc_face_tid_mid.txt          image template medium
    meta/ijbc_name_5pts_score.txt       image, five landmarks (x y), the detector's score; the same images in order
    meta/ijbc_template_pair_label.txt   template template 1|0
    meta/ijbc_1N_gallery_G1.csv, _G2    a header, then TEMPLATE_ID,SUBJECT_ID,... per image (IJB-B: S1, S2)
    meta/ijbc_1N_probe_mixed.csv        likewise
    loose_crop/                         the images

`ijbb_` in place of `ijbc_` is IJB-B. The lists of 1:N may be missing, all three together.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from faceverify.errors import UserError
from faceverify.redaction import first_line
from faceverify.storage import Location, NotAFileError

_SETS = ("ijbc", "ijbb")
_GALLERIES = {"ijbc": ("G1", "G2"), "ijbb": ("S1", "S2")}


@dataclass(frozen=True)
class Subjects:
    """Templates of one list of 1:N and whom they show: [T] int64 each, in the list's order."""

    template: np.ndarray
    subject: np.ndarray


@dataclass(frozen=True)
class IjbLists:
    """An IJB set.

    Attributes:
        name: ijbb or ijbc.
        folder: of the images.
        images: names [N] of the images in it, in the lists' order.
        template, medium: numbers [N] int64 of each image.
        landmarks: [N,5,2] float32, pixels of the image: eyes, nose, corners of the mouth, image-left first.
        detector: the detector's score [N] float64.
        first, second: templates' numbers [P] int64 of the pairs.
        label: [P] bool, whether both show one person.
        galleries: of 1:N, by name; none where the lists are not there.
        probes: of 1:N.
    """

    name: str
    folder: Location
    images: list[str]
    template: np.ndarray
    medium: np.ndarray
    landmarks: np.ndarray
    detector: np.ndarray
    first: np.ndarray
    second: np.ndarray
    label: np.ndarray
    galleries: dict[str, Subjects]
    probes: Subjects | None


def read_ijb(source: Location, images: bool = True) -> IjbLists:
    """Read the lists of `source`, the folder that holds `meta` and `loose_crop` (IJBB or IJBC).

    Args:
        source: the folder.
        images: whether the images must be there too.

    Raises:
        UserError: a list is missing or malformed, lists contradict each other, a pair or a list of 1:N names a template
            without images, or images are missing.
    """
    meta = source / "meta" if (source / "meta").is_dir() else source
    name = next((one for one in _SETS if (meta / f"{one}_face_tid_mid.txt").is_file()), None)
    if name is None:
        raise UserError(
            f"ijb: there is no ijbc_face_tid_mid.txt (or ijbb_...) in '{meta}'; give the folder IJBC or IJBB."
        )
    media_file, points_file = meta / f"{name}_face_tid_mid.txt", meta / f"{name}_name_5pts_score.txt"
    media = _read(media_file, (pa.string(), pa.int64(), pa.int64()), "image template medium")
    points = _read(points_file, (pa.string(), *[pa.float64()] * 11), "image, ten landmarks' numbers and a score")
    listed = media[0].to_pylist()
    _check_same_lines(listed, points[0].to_pylist(), media_file, points_file)
    _check_unique(listed, media_file)
    numbers = np.stack([column.to_numpy() for column in points[1:]], axis=1)
    if not np.isfinite(numbers).all():
        line = int(np.flatnonzero(~np.isfinite(numbers).all(axis=1))[0]) + 1
        raise UserError(f"ijb: '{points_file}' line {line} has a landmark or a score that is no number; correct it.")
    template, medium = (column.to_numpy() for column in media[1:])
    known = np.unique(template)
    pairs_file = meta / f"{name}_template_pair_label.txt"
    first, second, label = (
        column.to_numpy() for column in _read(pairs_file, [pa.int64()] * 3, "template template label")
    )
    _check_label(label, pairs_file)
    for column in (first, second):
        _check_templates(column, known, pairs_file)
    folder = meta.parent / "loose_crop"
    if images:
        _check_images(listed, folder)
    return IjbLists(
        name,
        folder,
        listed,
        template,
        medium,
        numbers[:, :10].reshape(-1, 5, 2).astype(np.float32),
        numbers[:, 10],
        first,
        second,
        label == 1,
        *_subjects(meta, name, known),
    )


def _subjects(meta: Location, name: str, known: np.ndarray) -> tuple[dict[str, Subjects], Subjects | None]:
    files = {part: meta / f"{name}_1N_gallery_{part}.csv" for part in _GALLERIES[name]}
    probe_file = meta / f"{name}_1N_probe_mixed.csv"
    there = [file.is_file() for file in (*files.values(), probe_file)]
    if not any(there):
        return {}, None
    if not all(there):
        absent = next(file for file, is_there in zip((*files.values(), probe_file), there, strict=True) if not is_there)
        raise UserError(f"ijb: there is no '{absent}', but the other lists of 1:N are there; add it or remove them.")
    galleries = {part: _read_subjects(file, known) for part, file in files.items()}
    probes = _read_subjects(probe_file, known)
    _check_entries(galleries, probes, probe_file)
    return galleries, probes


def _check_entries(galleries: dict[str, Subjects], probes: Subjects, location: Location) -> None:
    """Every probe has one entry in all galleries together, which the published form `joined` of 1:N needs."""
    subject, entries = np.unique(np.concatenate([one.subject for one in galleries.values()]), return_counts=True)
    odd = np.setdiff1d(probes.subject, subject[entries == 1])
    if odd.size:
        raise UserError(
            f"ijb: '{location}' has probes of {odd.size:,} subjects that do not have exactly one template in the "
            f"galleries {' and '.join(galleries)}, such as {odd[0]}; use the lists of one set."
        )


def _read_subjects(location: Location, known: np.ndarray) -> Subjects:
    """The first line of a template says whom it shows."""
    template, subject = (
        column.to_numpy() for column in _read(location, [pa.int64()] * 2, "TEMPLATE_ID,SUBJECT_ID,...", header=True)
    )
    _check_templates(template, known, location)
    _, first = np.unique(template, return_index=True)
    first.sort()
    return Subjects(template[first], subject[first])


def _read(
    location: Location, types: "tuple[pa.DataType, ...] | list[pa.DataType]", form: str, header: bool = False
) -> list[pa.ChunkedArray]:
    """The first columns of a list, which has at least as many as `types`; exactly as many without a header."""
    try:
        with location.open_input() as stream:
            start = stream.read(4096)
            stream.seek(0)
            line = start.partition(b"\n")[0]
            delimiter = next((mark for mark in (",", "\t") if mark.encode() in line), " ")
            width = line.decode("utf-8", "replace").strip().count(delimiter) + 1
            if width < len(types) or (width > len(types) and not header):
                raise UserError(f"ijb: '{location}' has {width} columns in its first line; a line must be '{form}'.")
            names = [str(index) for index in range(width)]
            table = pacsv.read_csv(
                stream,
                pacsv.ReadOptions(column_names=names, skip_rows=int(header)),
                pacsv.ParseOptions(delimiter=delimiter),
                pacsv.ConvertOptions(
                    column_types=dict(zip(names, types, strict=False)),
                    include_columns=names[: len(types)],
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
    except FileNotFoundError:
        raise UserError(f"ijb: there is no file '{location}'; check the path.") from None
    except (NotAFileError, PermissionError) as error:
        raise UserError(f"ijb: '{location}' cannot be read ({error.strerror}); give a file.") from None
    except pa.ArrowException as error:
        raise UserError(f"ijb: '{location}' cannot be read ({first_line(error)}); a line must be '{form}'.") from None
    if any(column.null_count for column in table.columns):
        raise UserError(f"ijb: '{location}' has a line with an empty field; a line must be '{form}'.")
    return table.columns


def _check_same_lines(media: list[str], points: list[str], media_file: Location, points_file: Location) -> None:
    if media == points:
        return
    if len(media) != len(points):
        raise UserError(
            f"ijb: '{media_file}' has {len(media):,} lines and '{points_file}' {len(points):,}; they name the same "
            "images in the same order."
        )
    at = next(index for index, (one, other) in enumerate(zip(media, points, strict=True)) if one != other)
    raise UserError(
        f"ijb: line {at + 1} is '{media[at][:60]}' in '{media_file}' and '{points[at][:60]}' in '{points_file}'; they "
        "name the same images in the same order."
    )


def _check_unique(images: list[str], location: Location) -> None:
    if len(set(images)) < len(images):
        seen = set[str]()
        twice = next(image for image in images if image in seen or seen.add(image))
        raise UserError(f"ijb: '{location}' names the image '{twice[:60]}' twice; each line is an image of its own.")


def _check_label(label: np.ndarray, location: Location) -> None:
    if not np.isin(label, (0, 1)).all():
        odd = label[~np.isin(label, (0, 1))][0]
        raise UserError(f"ijb: '{location}' has the label {odd}; labels are 1 (one person) and 0.")
    if label.all() or not label.any():
        raise UserError(f"ijb: '{location}' has pairs of one label only; error rates need both.")


def _check_templates(template: np.ndarray, known: np.ndarray, location: Location) -> None:
    absent = np.setdiff1d(template, known)
    if absent.size:
        raise UserError(
            f"ijb: '{location}' names {absent.size:,} templates that have no image, such as {absent[0]}; use the lists "
            "of one set."
        )


def _check_images(images: list[str], folder: Location) -> None:
    if not folder.is_dir():
        raise UserError(f"ijb: there is no folder '{folder}'; unpack the images there.")
    there = {entry.path for entry in folder.files()}
    absent = [image for image in images if image not in there]
    if absent:
        raise UserError(
            f"ijb: {len(absent):,} of {len(images):,} images are not in '{folder}', such as '{absent[0][:60]}'; unpack "
            "them all, since a template without some of its media scores otherwise."
        )
