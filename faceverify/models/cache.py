"""The weights cache: a folder per published model, verified when it is filled, and usable without a network.

    $FACEVERIFY_CACHE (or ~/.cache/faceverify) / models / NAME / the weights file, and its model card beside it

A folder appears complete or not at all: it is filled under another name and renamed.
"""

import http.client
import os
import shutil
import tempfile
import urllib.request
from dataclasses import replace
from pathlib import Path

from faceverify.errors import PlatformError, UserError
from faceverify.models import files, registry
from faceverify.models.card import ModelCard, card_path

TIMEOUT_S = 30.0


def cache_dir() -> Path:
    """Return the cache folder; it may not exist yet."""
    chosen = os.environ.get("FACEVERIFY_CACHE")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "faceverify"


def folder_of(name: str) -> Path:
    """Return the folder of a published model in the cache; it may not exist yet."""
    return cache_dir() / "models" / name


def locate(name: str) -> Path:
    """Return the weights file of a published model in the cache.

    Raises:
        UserError: the name is unknown, or the model has not been fetched (the text says how, also without a network).
    """
    entry = registry.get(name)
    found = [path for path in folder_of(name).glob("*") if path.suffix.lower() in files.SUFFIXES]
    if len(found) != 1:
        raise UserError(
            f"The model '{name}' ({entry.file_name}) is not in the cache {cache_dir()}; {_recipe(name, entry)}."
        )
    return found[0]


def fetch(name: str, from_file: Path | None = None) -> Path:
    """Put a published model into the cache, from its source or from a file, and return the path of the weights.

    The SHA-256 is verified if it is known; the network in the file must be the one of the model card in any case.

    Raises:
        UserError: unknown name, no such file, wrong hash, or a file that holds another network.
        PlatformError: the download failed.
    """
    entry = registry.get(name)
    if from_file is not None:
        files.require_file(from_file)
    folder = folder_of(name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=folder.parent))
    try:
        weights = partial / (from_file.name if from_file else entry.file_name)
        if from_file is None:
            _download(name, entry, weights)
            card = _verified(entry.card, weights, entry.url or "")
        else:
            card = _verified(entry.card, from_file, str(from_file))
            shutil.copyfile(from_file, weights)
        card_path(weights).write_text(card.to_json(), encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp makes it private; a cache may be shared
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder / weights.name


def _offline(name: str, entry: registry.Published) -> str:
    run = f"`python -m ray_jobs.models fetch {name} --from FILE`"
    return f"take the file from {entry.card.source} on another machine and run {run}"


def _recipe(name: str, entry: registry.Published) -> str:
    get_it = f"run `python -m ray_jobs.models fetch {name}`" if entry.url else "fetch it by hand"
    return f"{get_it}, or without a network {_offline(name, entry)}"


def _verified(card: ModelCard, weights: Path, origin: str) -> ModelCard:
    """Check the hash and the network of a weights file; return the card with its hash."""
    sha256 = files.sha256_of(weights)
    if card.sha256 not in (None, sha256):
        raise UserError(
            f"{origin} has SHA-256 {sha256}, but {card.name} has {card.sha256}: it is another file, or a broken one."
        )
    pinned = replace(card, sha256=sha256)
    files.check_network(weights, pinned)
    return pinned


def _download(name: str, entry: registry.Published, target: Path) -> None:
    if entry.url is None:
        raise UserError(f"The model '{name}' has no direct address; {_offline(name, entry)}.")
    try:
        # The address is one of our registry's, and what comes is held against its SHA-256.
        with urllib.request.urlopen(entry.url, timeout=TIMEOUT_S) as answer, target.open("wb") as out:  # noqa: S310
            shutil.copyfileobj(answer, out, 1 << 20)
            announced = answer.headers.get("Content-Length")
    except (OSError, http.client.HTTPException) as error:
        raise PlatformError(
            f"Could not download {entry.url} ({error}) into {cache_dir()}; without a network {_offline(name, entry)}."
        ) from error
    if announced is not None and int(announced) != target.stat().st_size:
        raise PlatformError(f"The download of {entry.url} broke off at {target.stat().st_size} bytes; run it again.")
