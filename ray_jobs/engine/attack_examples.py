"""The faces that the report of the job `attack` shows: some pairs once more, in the process of the job."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from faceverify.attacks.options import Condition
from faceverify.faces import Crops, Stopwatch
from faceverify.inputs import stream_table
from faceverify.report.attack import Example, Shown
from faceverify.report.thumbnails import thumbnail
from faceverify.scoring.similarity import OK
from faceverify.storage import Location
from faceverify.vectors import unit
from ray_jobs.engine.attack_work import AttackedSource

if TYPE_CHECKING:
    from ray_jobs.attack import AttackConfig

KINDS = ("genuine", "impostor", "deepfake")


def examples_of(
    config: "AttackConfig",
    source: AttackedSource,
    conditions: Sequence[Condition],
    digest: str,
    work: Location,
    scores: pa.Table,
    threshold: float | None,
) -> list[Example]:
    """The first pairs of each kind that have a similarity, under every attack.

    Args:
        config: how many, and with which network.
        source: makes crops as the workers did.
        conditions: all attacks.
        digest: of the card of the network.
        work: the run's working folder.
        scores: the pairs with their similarities.
        threshold: from which on a pair is accepted; None = unknown.
    """
    kinds = pc.and_(pc.equal(scores["status"], OK), pc.is_valid(scores["label"]))
    usable = scores.filter(kinds)
    rows = [
        row
        for kind in KINDS
        for row in usable.filter(pc.equal(usable["kind"], kind)).slice(0, config.examples).to_pylist()
    ]
    if not rows:
        return []
    crops = source.open()(_known(work, {row[name] for row in rows for name in ("photo_a", "photo_b")}), Stopwatch())
    keys = zip(crops.rows["photo"].to_pylist(), crops.rows["condition"].to_pylist(), strict=True)
    places = {key: at for at, key in enumerate(keys)}
    changed = dict(_changed(config, conditions, digest, rows, crops, places))
    degraded = [condition for condition in conditions if not condition.on_gradients]
    return [_example(row, conditions, degraded, crops.faces, places, changed, threshold) for row in rows]


def _known(work: Location, names: set[str]) -> pa.Table:
    """Rows of photos of these names, with `row`."""
    files = [work / "known" / entry.path for entry in (work / "known").files(recursive=False)]
    wanted = pa.array(sorted(names), pa.string())
    rows = pa.concat_tables(table.filter(pc.is_in(table["photo"], value_set=wanted)) for table in stream_table(files))
    return rows.add_column(0, "row", pa.array(np.arange(len(rows))))


def _changed(
    config: "AttackConfig",
    conditions: Sequence[Condition],
    digest: str,
    rows: list[dict[str, Any]],
    crops: Crops,
    places: dict[tuple[str, int], int],
) -> Iterator[tuple[tuple[str, Condition], np.ndarray]]:
    """By pair and attack on gradients, the crop as the attack makes it."""
    wanted = [condition for condition in conditions if condition.on_gradients]
    if not wanted:
        return
    from faceverify.attacks.gradients import GradientAttacker

    attacker = GradientAttacker(config.model, config.engine, digest, config.strengths.pgd_steps, config.seed)
    one, other = (crops.faces[[places[row[name], 0] for row in rows]] for name in ("photo_a", "photo_b"))
    towards = np.array([-1 if row["label"] == 1 else 1 for row in rows])
    names = [row["pair"] for row in rows]
    targets = unit(attacker.engine.embed(one))
    for condition, faces in attacker.attacked(other, targets, towards, names, wanted):
        yield from (((name, condition), face) for name, face in zip(names, faces, strict=True))


def _example(
    row: dict[str, Any],
    conditions: Sequence[Condition],
    degraded: list[Condition],
    faces: np.ndarray,
    places: dict[tuple[str, int], int],
    changed: dict[tuple[str, Condition], np.ndarray],
    threshold: float | None,
) -> Example:
    def shown(face: np.ndarray | None, label: str, similarity: float | None) -> Shown:
        wrong = None
        if threshold is not None and similarity is not None:
            wrong = (similarity >= threshold) != (row["label"] == 1)
        return Shown(None if face is None else thumbnail(face), label, similarity, wrong)

    def face_under(condition: Condition) -> np.ndarray | None:
        if condition.on_gradients:
            return changed[row["pair"], condition]
        at = places.get((row["photo_b"], 1 + degraded.index(condition)))
        return None if at is None else faces[at]

    as_it_is = shown(faces[places[row["photo_b"], 0]], "as it is", row["similarity"])
    strips: dict[str, list[Shown]] = {}
    for condition in conditions:
        strip = strips.setdefault(condition.attack, [as_it_is])
        strip.append(shown(face_under(condition), f"{condition.strength:g}", row[condition.name]))
    return Example(row["kind"], Shown(thumbnail(faces[places[row["photo_a"], 0]]), "enrolled"), strips)
