"""The report of a run of fakes: read from the tables that it published."""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.config import command_line
from faceverify.fakes.audit import MEASURED, audits
from faceverify.fakes.making import Order
from faceverify.fakes.photo_pool import PhotoPool
from faceverify.inputs import stream_table
from faceverify.report.fakes import examples_of, render_fakes
from faceverify.report.page import ReportAbout
from faceverify.run_folder import RunFolder
from faceverify.wording import count_of

EXAMPLES = 6  # of each generator
SHOWN = [
    *("photo", "uri", "person", "generator", "landmarks", "source_photo", "target_photo", "how"),
    *("similarity_person", "similarity_host"),
]


def report(
    folder: RunFolder, order: Order, pool: PhotoPool, inputs: dict[str, str], threshold: float | None
) -> dict[str, Any]:
    """Write the page of a run whose tables are there; returns what the manifest says of the fakes."""
    names = [generator.name for generator in order.generators]
    ours = f"/fake/({'|'.join(names)})/{order.seed}_[0-9]+[.][a-z]+$"  # and none that were given
    place = folder.out / "photos"
    photos = [place / name for name in sorted(entry.path for entry in place.files(recursive=False))]
    of_fakes = lambda rows: rows.filter(pc.match_substring_regex(rows["photo"], ours))  # noqa: E731
    found = audits(map(of_fakes, stream_table(photos, ["photo", "generator", *MEASURED.names])), threshold)
    shown = spread(map(of_fakes, stream_table(photos, SHOWN)), {one.generator: one.fakes for one in found})
    fakes = sum(one.fakes for one in found)
    about = ReportAbout(
        title="Deepfakes to learn from",
        command=command_line(),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=f"{count_of(fakes, 'fake')} of {count_of(len(pool.names), 'person', 'people')}, by "
        f"{count_of(len(found), 'generator')}. They claim to be people of the photos, and are made to train against.",
        inputs=inputs,
    )
    examples = {
        name: list(examples_of([row for row in shown if row["generator"] == name], pool))
        for name in (one.generator for one in found)
    }
    page = render_fakes(found, examples, about, order.recogniser, threshold)
    (folder.out / "report.html").write_bytes(page.encode())
    return {"audit": {one.generator: asdict(one) for one in found}, "threshold": threshold}


def spread(pieces: Iterable[pa.Table], counts: dict[str, int]) -> list[dict[str, Any]]:
    """EXAMPLES rows of each generator, at even distances."""
    wanted = {name: {i * count // EXAMPLES for i in range(EXAMPLES)} for name, count in counts.items()}
    seen, found = dict.fromkeys(counts, 0), []
    for rows in pieces:
        names = rows["generator"].to_pylist()
        for i, name in enumerate(names):
            if seen[name] in wanted[name]:
                found += rows.slice(i, 1).to_pylist()
            seen[name] += 1
    return found
