"""A sentence per photo that says on what its decision rests, with the numbers."""

import math

from faceverify.cleaning.reasons import CleaningReason
from faceverify.cleaning.shard import Shard
from faceverify.cleaning.verdicts import Found, Verdicts, World

# near: "cosine 0.85 to <suggested person>"; beside: the same behind a semicolon, or that nobody is near.
_TEXTS = {
    CleaningReason.LINKED: "cosine {own:.2f} to the other photos of {name}",
    CleaningReason.LIKE_THE_MEAN: "linked to no photo of the main group, but cosine {own:.2f} to its mean{beside}",
    CleaningReason.WEAK_BUT_UNCLAIMED: "only cosine {own:.2f} to {name}, but nobody else reaches {claim:.2f}{beside}",
    CleaningReason.ONLY_PHOTO: "the only photo of {name}{beside}",
    CleaningReason.NEARER_TO_OTHER: "{near}, {versus_own}",
    CleaningReason.UNLIKE_OWN: "only {versus_own}{beside} (beyond chance: {claim:.2f})",
    CleaningReason.SECOND_GROUP: "like further photos here, but only {versus_own}: a second person?{beside}",
    CleaningReason.NO_MAJORITY: "the photos of {name} fall apart into equal groups{beside}",
    CleaningReason.ONLY_PHOTO_LIKE_OTHER: "the only photo of {name}{beside}",
    CleaningReason.FAKE_LIKE_CLAIMED: "cosine {best:.2f} to the nearest kept photo of {name}, threshold {link:.2f}",
    CleaningReason.FAKE_UNLIKE_CLAIMED: "cosine {best:.2f} to the nearest kept photo of {name}, threshold {link:.2f}",
    CleaningReason.FAKE_WITHOUT_REAL: "no real photo of {name} was kept to compare the fake with",
    CleaningReason.NO_EMBEDDING: "no embedding: an earlier job could not use the photo, its rejects say why",
    CleaningReason.NO_PERSON: "the table names no person{beside}",
    CleaningReason.EXACT_DUPLICATE: "the same bytes as {spare_of}",
    CleaningReason.REVIEWER: "decided by {by}{beside}",
}


def sentences(rows: Shard, found: Found, verdicts: Verdicts, world: World) -> list[str]:
    """The evidence for every photo of a shard, in order."""
    names = [world.person(number) for number in range(int(rows.number[0]), int(rows.number[-1]) + 1)]
    own, other, best = (column.tolist() for column in (found.own, found.other, verdicts.fake_best))
    texts = []
    for row, (number, entry) in enumerate(zip(rows.number.tolist(), found.entry.tolist(), strict=True)):
        name = names[number - int(rows.number[0])] or "nobody"
        suggested = suggested_person(entry, world)
        near = f"cosine {other[row]:.2f} to {suggested}" if suggested else ""
        texts.append(
            _TEXTS[verdicts.reason[row]].format(
                name=name,
                own=own[row],
                versus_own=_versus_own(own[row], name),
                near=near,
                beside=f"; {near}" if near else "; nobody else is near",
                best=best[row],
                link=world.lines.link,
                claim=world.lines.claim,
                spare_of=verdicts.spare_of[row],
                by=verdicts.by[row],
            )
        )
    return texts


def suggested_person(entry: int, world: World) -> str | None:
    """Whose photo it probably is: the owner of the nearest mean (-1 = none)."""
    return world.person(int(world.bank.person[entry])) if entry >= 0 else None


def _versus_own(own: float, name: str) -> str:
    return f"{name} has no photos to compare with" if math.isnan(own) else f"{own:.2f} to the other photos of {name}"
