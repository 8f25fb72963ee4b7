"""Layout `folders`: `<person>/<photo>`, or any depth below; photos directly in the root have no person (null).

Above the people may be folders of splits (`train/`, `val/`) and of labels (`real/`, `fake/`): see `folder_levels`.
Which photos are fakes is found in one of three ways: a CSV that names every photo; a pattern of file names; or folders,
above the people or below each of them (`<person>/fake/`), with the generator as a further folder if there is one.
"""

import fnmatch
import re
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from faceverify.datasets.folder_levels import Folders, Meaning, find_levels, parse_levels, read_folders
from faceverify.datasets.listing import Listing, Rejected, as_listed, list_photos, photos_table, rejects_table
from faceverify.datasets.options import DatasetConfig, FoldersConfig
from faceverify.datasets.paths import normalise_paths
from faceverify.datasets.text_lists import open_list
from faceverify.errors import Reason, UserError
from faceverify.redaction import first_line
from faceverify.storage import FileEntry, Location, open_location

_FAKE_WORDS = pa.array(["0", "1", "false", "true"])


def read(source: Location, config: DatasetConfig) -> Listing:
    """List `source`; see the module docstring.

    Raises:
        UserError: no photos, options that contradict each other, a bad CSV, or folders that may mean two things.
    """
    options = config.folders
    if options.fake_csv and options.fake_pattern:
        raise UserError("folders: fake_csv and fake_pattern are both set; keep the one that tells fakes here.")
    levels = None if options.levels == "auto" else parse_levels(options.levels)
    entries, bad = list_photos(source)
    folders = [_folders(entry.path) for entry in entries]
    levels = levels or find_levels(folders)
    meanings = {one: read_folders(one, levels, options.fake_folder) for one in set(folders)}
    told = [meanings[one] for one in folders]
    if options.fake_csv:
        return _by_csv(source, entries, told, bad, open_location(options.fake_csv))
    paths = [entry.path for entry in entries]
    if options.fake_pattern:
        is_fake, generator = _by_name(paths, options)
    else:
        is_fake = pa.array([one.is_fake is True for one in told], pa.bool_())
        generator = pa.array([one.generator for one in told], pa.string())
    photos = photos_table(source, entries, is_fake=is_fake, generator=generator, **_people(told))
    return Listing(photos, None, rejects_table(bad), notes=_notes(meanings.values(), labels=not options.fake_pattern))


def _folders(path: str) -> Folders:
    return tuple(path.split("/")[:-1])


def _people(told: Sequence[Meaning]) -> dict[str, pa.Array]:
    person = pa.array([one.person for one in told], pa.string())
    return {"person": person, "split": pa.array([one.split for one in told], pa.string())}


def _notes(meanings: Iterable[Meaning], labels: bool) -> tuple[str, ...]:
    """What was understood of the folders' names, as phrases."""
    told = zip(*(one.words for one in meanings), strict=True)
    columns = zip(("split", "is_fake"), told, (True, labels), strict=True)
    found = [(name, sorted({word for word in words if word})) for name, words, used in columns if used]
    return tuple(f"{name} from the folders {', '.join(words)}" for name, words in found if words)


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


def _by_csv(
    source: Location, entries: Sequence[FileEntry], told: Sequence[Meaning], bad: Sequence[Rejected], csv: Location
) -> Listing:
    labels, outside = _read_labels(csv)
    listed, found = as_listed({name: name for name in labels["photo"].to_pylist()}, entries, source.uri)
    labels = labels.set_column(0, "photo", pa.array(listed, pa.string()))
    at = pc.index_in(pa.array([entry.path for entry in entries], pa.string()), labels["photo"])
    named = [(entry, one) for entry, one, row in zip(entries, told, at.to_pylist(), strict=True) if row is not None]
    at = at.drop_null()
    photos = photos_table(
        source,
        [entry for entry, _ in named],
        **_people([one for _, one in named]),
        is_fake=labels["is_fake"].take(at).combine_chunks(),
        generator=labels["generator"].take(at).combine_chunks(),
    )
    known = {*photos["photo"].to_pylist(), *(path for path, _, _ in bad)}
    rejected = [*bad] + [
        (entry.path, Reason.UNLABELLED, f"not named by {csv.name}") for entry in entries if entry.path not in known
    ]
    rejected += [
        (path, Reason.MISSING, f"named by {csv.name}") for path in labels["photo"].to_pylist() if path not in known
    ]
    rejected += [(path, Reason.OUTSIDE_ROOT, f"named by {csv.name}") for path in outside]
    return Listing(photos, None, rejects_table(rejected), found, _notes([one for _, one in named], labels=False))


def _read_labels(csv: Location) -> tuple[pa.Table, list[str]]:
    """(photo, is_fake, generator) of the rows whose path stays inside the root, and the paths that do not."""
    table, before = _read_csv(csv)
    missing = {"photo", "is_fake"} - set(table.column_names)
    if missing:
        found = ", ".join(table.column_names)
        raise UserError(f"folders.fake_csv: '{csv}' has no column {' and '.join(sorted(missing))}, only {found}.")
    word = pc.index_in(pc.utf8_lower(table["is_fake"]), _FAKE_WORDS)
    bad = pc.indices_nonzero(pc.is_null(word))
    if len(bad):
        value, line = table["is_fake"][bad[0].as_py()].as_py(), bad[0].as_py() + 2 + before
        raise UserError(f"folders.fake_csv: '{csv}' line {line} says is_fake '{value}'; write 0 or 1.")
    photo, outside = normalise_paths(table["photo"])
    is_fake = pc.equal(pc.bit_wise_and(word, 1), 1)
    generator = table["generator"] if "generator" in table.column_names else pa.nulls(len(table), pa.string())
    generator = pc.if_else(pc.and_(is_fake, pc.not_equal(generator, "")), generator, pa.scalar(None, pa.string()))
    labels = pa.table({"photo": photo, "is_fake": is_fake, "generator": generator})
    kept = labels.filter(pc.invert(outside))
    if pc.count_distinct(kept["photo"]).as_py() < len(kept):
        raise UserError(f"folders.fake_csv: '{csv}' names a photo twice; keep one line per photo.")
    return kept, labels["photo"].filter(outside).to_pylist()


def _read_csv(csv: Location) -> tuple[pa.Table, int]:
    """The table, and how many lines stand before its header."""
    names = ("photo", "is_fake", "generator")
    convert = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    with open_list(csv, "folders.fake_csv") as text:
        parse = pacsv.ParseOptions(delimiter=text.delimiter({"photo", "is_fake"}))
        try:
            return pacsv.read_csv(text, parse_options=parse, convert_options=convert), text.skipped
        except pa.ArrowInvalid as error:
            raise UserError(f"folders.fake_csv: '{csv}' cannot be read as CSV ({first_line(error)}).") from None
