"""What is known of a published weights file: the types of the registry's entries. The entries are data elsewhere."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from faceverify.models.card import ModelCard

Kind = Literal["recogniser", "detector", "generator"]
Commercial = Literal["yes", "no", "unclear"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A zip file that holds a published file."""

    member: str
    """Name of the weights file in the zip file, in any of its folders."""
    size: int
    """Bytes of the zip file."""
    sha256: str
    """SHA-256 of the zip file, in hexadecimal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedFile:
    """One file of a published network."""

    name: str
    """What it is called in the cache and at a mirror."""
    url: str | None
    """Its https address, or that of the zip file it is in; null if it has to be fetched by hand."""
    size: int | None = None
    """Size in bytes; null where it is not known."""
    sha256: str | None = None
    """SHA-256 of the file in hexadecimal; null where none has been published or measured."""
    others: tuple[str, ...] = ()
    """SHA-256 of other files that are published under this name and do as well."""
    archive: Archive | None = None
    """The zip file at `url`, if it is in one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """A published network."""

    name: str
    """What a user calls it."""
    kind: Kind
    """recogniser: `--model NAME`; detector: `--align.weights NAME`; generator: what the job `fakes` needs for one."""
    method: str = ""
    """The `align.method` that reads a detector; empty for others."""
    files: tuple[PublishedFile, ...]
    """The files: one, or the three networks of mtcnn."""
    licence: str
    """Licence of the weights, in plain words."""
    commercial: Commercial
    """Whether that allows commercial use; unclear where none is stated for the file itself, or where the publisher
    refers to the terms of the training data."""
    source: str
    """Who published it, for people."""
    card: "ModelCard | None" = None
    """Model card of a recogniser, null for others; its `sha256` is that of the file."""
    published_threshold: float | None = None
    """A cosine at which its publisher says two faces are one person's. Not measured by this project."""
    threshold_source: str = ""
    """Who published `published_threshold`, and where."""

    @property
    def fetchable(self) -> bool:
        """Whether all its files have an address."""
        return all(file.url for file in self.files)

    def stranger(self, sha256: str) -> str:
        """What to warn of if a generator's file has this SHA-256 and none that is known; empty if it is known."""
        [file] = self.files
        if self.kind != "generator" or sha256 in (file.sha256, *file.others):
            return ""
        known = "another one than those that are known" if file.sha256 else "and none has been published"
        return f"{self.name} has SHA-256 {sha256}, {known}: make sure that it comes from where you think it does."


def recogniser(
    card: "ModelCard",
    file_name: str,
    url: str | None,
    commercial: Commercial,
    *,
    size: int | None = None,
    archive: Archive | None = None,
    licence: str = "",
    threshold: tuple[float, str] | None = None,
) -> Published:
    """The entry of a network in one file, whose name, sum and source are those of its card, and the licence too."""
    return Published(
        name=card.name,
        kind="recogniser",
        files=(PublishedFile(name=file_name, url=url, size=size, sha256=card.sha256, archive=archive),),
        licence=licence or card.licence,
        commercial=commercial,
        source=card.source,
        card=card,
        published_threshold=threshold[0] if threshold else None,
        threshold_source=threshold[1] if threshold else "",
    )
