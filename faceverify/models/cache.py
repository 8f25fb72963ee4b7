"""The weights cache: a folder per published network, verified when `fetching` fills it; read without a network.

    $FACEVERIFY_CACHE (or ~/.cache/faceverify)
        models / NAME / the file or files, and beside a recogniser's its model card
        pinned / NAME.json       SHA-256 of files for which none has been published: that of the first that came
        downloads / NAME / ...   what has come so far of a download that broke off

A folder of models/ appears complete or not at all: it is filled under another name and renamed.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from faceverify.errors import UserError
from faceverify.models import downloading, files, registry
from faceverify.models.published import Published

FETCH = "faceverify models fetch"


def cache_dir() -> Path:
    """Return the cache folder; it may not exist yet."""
    chosen = os.environ.get("FACEVERIFY_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "faceverify"


def folder_of(name: str) -> Path:
    """Return the folder of a published network in the cache; it may not exist yet."""
    return cache_dir() / "models" / name


def find(name: str) -> Path | None:
    """Return the weights of a published network in the cache, None if they are not there.

    Raises:
        UserError: the name is unknown.
    """
    entry = registry.get(name)
    folder = folder_of(name)
    if len(entry.files) > 1:
        return folder if all((folder / file.name).is_file() for file in entry.files) else None
    found = [path for path in folder.glob("*") if path.suffix.lower() in files.SUFFIXES]
    return found[0] if len(found) == 1 else None


def locate(name: str) -> Path:
    """Return the weights of a published network in the cache: its file, or of several files the folder.

    Raises:
        UserError: the name is unknown, or the network has not been fetched (the text says how).
    """
    found = find(name)
    if found is None:
        raise UserError(absent([name]))
    return found


def require(names: Sequence[str]) -> None:
    """Check that published networks are in the cache.

    Raises:
        UserError: names all that are not, and the one command that brings them.
    """
    missing = [name for name in dict.fromkeys(names) if find(name) is None]
    if missing:
        raise UserError(absent(missing))


def absent(names: Sequence[str]) -> str:
    """The sentence for networks that are not in the cache."""
    those = names[0] if len(names) == 1 else ", ".join(names[:-1]) + f" and {names[-1]}"
    by_hand = [name for name in names if not (registry.get(name).fetchable or downloading.mirror())]
    ways = [f"`{FETCH} {' '.join(name for name in names if name not in by_hand)}`"] if len(by_hand) < len(names) else []
    ways += [_by_hand(registry.get(name)) for name in by_hand]
    return f"The weights of {those} are not in the cache {cache_dir()}: run {'; '.join(ways)}."


def _by_hand(entry: Published) -> str:
    return f"`{FETCH} {entry.name} --from FILE` with the file of {entry.source}"


def expected(name: str) -> Mapping[str, str]:
    """The SHA-256 of the files of a published network by their names, as published or pinned; those that are known."""
    return {file.name: file.sha256 for file in registry.get(name).files if file.sha256} or pinned(name)


def pinned(name: str) -> Mapping[str, str]:
    """The SHA-256 of files for which none has been published, by file name, as they were when they first came."""
    try:
        found = json.loads(pins_file(name).read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        raise UserError(f"{pins_file(name)} is damaged; delete it, and fetch {name} again.") from None
    return {str(key): str(value) for key, value in found.items()}


def pins_file(name: str) -> Path:
    """Return where the SHA-256 that `pinned` reads are kept; the file may not exist."""
    return cache_dir() / "pinned" / f"{name}.json"
