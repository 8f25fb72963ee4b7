"""Layout `folders`: `<person>/<photo>`, or any depth below; photos directly in the root have no person (null).

Which photos are fakes is told in one of three ways: a CSV that names every photo; a pattern of file names; or the
sub-folder `fake` below the person's, with the generator as a further folder if there is one.
"""

import fnmatch
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from faceverify.datasets import DatasetConfig, FoldersConfig
from faceverify.datasets.listing import Listing, as_listed, list_photos, persons, photos_table, rejects_table
from faceverify.datasets.paths import normalise_paths
from faceverify.errors import Reason, UserError
from faceverify.storage import FileEntry, Location, first_line, open_location

_FAKE_WORDS = pa.array(["0", "1", "false", "true"])


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`; see the module docstring.

    Raises:
        UserError: no photos, options that contradict each other, or a bad CSV.
    """
    options = config.folders
    if options.fake_csv and options.fake_pattern:
        raise UserError("folders: fake_csv and fake_pattern are both set; keep the one that tells fakes here.")
    entries = list_photos(source)
    if options.fake_csv:
        return _by_csv(source, entries, open_location(options.fake_csv))
    paths = [entry.path for entry in entries]
    is_fake, generator = _by_name(paths, options) if options.fake_pattern else _by_folder(paths, options.fake_folder)
    photos = photos_table(source, entries, person=persons(paths), is_fake=is_fake, generator=generator)
    return Listing(photos, None, rejects_table())


def _by_folder(paths: Sequence[str], fake_folder: str) -> tuple[pa.Array, pa.Array]:
    is_fake, generator = [], []
    for path in paths:
        parts = path.split("/", 4)
        fake = len(parts) > 2 and parts[1] == fake_folder
        is_fake.append(fake)
        generator.append(parts[2] if fake and len(parts) > 3 else None)
    return pa.array(is_fake, pa.bool_()), pa.array(generator, pa.string())


def _by_name(paths: Sequence[str], options: FoldersConfig) -> tuple[pa.Array, pa.Array]:
    is_fake_name = re.compile(fnmatch.translate(options.fake_pattern)).match
    find_generator = _generator_search(options.generator_pattern)
    is_fake, generator = [], []
    for path in paths:
        name = path.rpartition("/")[2]
        fake = is_fake_name(name) is not None
        is_fake.append(fake)
        found = find_generator.search(name) if fake and find_generator else None
        generator.append(found["generator"] if found else None)
    return pa.array(is_fake, pa.bool_()), pa.array(generator, pa.string())


def _generator_search(pattern: str) -> re.Pattern[str] | None:
    if not pattern:
        return None
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"folders.generator_pattern: '{pattern}' is no regular expression ({error}).") from None
    if "generator" not in compiled.groupindex:
        raise UserError(f"folders.generator_pattern: '{pattern}' has no group (?P<generator>...); add it.")
    return compiled


def _by_csv(source: Location, entries: Sequence[FileEntry], csv: Location) -> Listing:
    labels, outside = _read_labels(csv)
    listed, found = as_listed({name: name for name in labels["photo"].to_pylist()}, entries, source.uri)
    labels = labels.set_column(0, "photo", pa.array(listed, pa.string()))
    at = pc.index_in(pa.array([entry.path for entry in entries], pa.string()), labels["photo"])
    named = [entry for entry, row in zip(entries, at.to_pylist(), strict=True) if row is not None]
    at = at.drop_null()
    photos = photos_table(
        source,
        named,
        person=persons([entry.path for entry in named]),
        is_fake=labels["is_fake"].take(at).combine_chunks(),
        generator=labels["generator"].take(at).combine_chunks(),
    )
    known = set(photos["photo"].to_pylist())
    rejected = [
        (entry.path, Reason.UNLABELLED, f"not named by {csv.name}") for entry in entries if entry.path not in known
    ]
    rejected += [
        (path, Reason.MISSING, f"named by {csv.name}") for path in labels["photo"].to_pylist() if path not in known
    ]
    rejected += [(path, Reason.OUTSIDE_ROOT, f"named by {csv.name}") for path in outside]
    return Listing(photos, None, rejects_table(rejected), found)


def _read_labels(csv: Location) -> tuple[pa.Table, list[str]]:
    """(photo, is_fake, generator) of the rows whose path stays inside the root, and the paths that do not."""
    table = _read_csv(csv)
    missing = {"photo", "is_fake"} - set(table.column_names)
    if missing:
        found = ", ".join(table.column_names)
        raise UserError(f"folders.fake_csv: '{csv}' has no column {' and '.join(sorted(missing))}, only {found}.")
    word = pc.index_in(pc.utf8_lower(table["is_fake"]), _FAKE_WORDS)
    bad = pc.indices_nonzero(pc.is_null(word))
    if len(bad):
        value = table["is_fake"][bad[0].as_py()].as_py()
        raise UserError(f"folders.fake_csv: '{csv}' line {bad[0].as_py() + 2} says is_fake '{value}'; write 0 or 1.")
    photo, outside = normalise_paths(table["photo"])
    is_fake = pc.equal(pc.bit_wise_and(word, 1), 1)
    generator = table["generator"] if "generator" in table.column_names else pa.nulls(len(table), pa.string())
    generator = pc.if_else(pc.and_(is_fake, pc.not_equal(generator, "")), generator, pa.scalar(None, pa.string()))
    labels = pa.table({"photo": photo, "is_fake": is_fake, "generator": generator})
    kept = labels.filter(pc.invert(outside))
    if pc.count_distinct(kept["photo"]).as_py() < len(kept):
        raise UserError(f"folders.fake_csv: '{csv}' names a photo twice; keep one line per photo.")
    return kept, labels["photo"].filter(outside).to_pylist()


def _read_csv(csv: Location) -> pa.Table:
    names = ("photo", "is_fake", "generator")
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    try:
        with csv.open_input() as stream:
            return pacsv.read_csv(stream, convert_options=convert)
    except FileNotFoundError:
        raise UserError(f"folders.fake_csv: there is no file '{csv}'; check the path.") from None
    except pa.ArrowInvalid as error:
        raise UserError(f"folders.fake_csv: '{csv}' cannot be read as CSV ({first_line(error)}).") from None
