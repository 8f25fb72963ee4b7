"""Filling the weights cache: published networks are downloaded or copied and verified; they appear only complete."""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from faceverify.errors import PlatformError, UserError
from faceverify.models import cache, downloading, files, loading, registry
from faceverify.models.card import card_path
from faceverify.models.published import Published, PublishedFile


def fetch(
    name: str,
    from_file: Path | None = None,
    watch: downloading.Watch = lambda done, whole: None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Put a published network into the cache, from its source or from a file, and return the path of the weights.

    What is there already, whole, is left as it is. The SHA-256 is verified if it is known, else that of the first file
    that comes is recorded (`cache.pinned`) and verified from then on. That of a generator's file is recorded, and an
    unknown one told of.

    Args:
        name: name of a registry entry.
        from_file: is copied instead of a download; of a network of several files the folder that holds them.
        watch: called with the bytes received so far, and the bytes in all (None = unknown).
        tell: called with sentences about the progress, for the user.

    Raises:
        UserError: unknown name, no such file, wrong hash, a file that holds another network, or downloads are off.
        PlatformError: the download failed; what has come of it is kept.
    """
    entry = registry.get(name)
    if from_file is not None and len(entry.files) == 1:
        files.require_file(from_file)
    with _alone(name, tell):
        there = cache.find(name)
        if from_file is None and there is not None and _is_whole(entry, there):
            return there
        return _fill(entry, from_file, watch, tell)


def _is_whole(entry: Published, there: Path) -> bool:
    """Whether what is in the cache is what came: a file that changed since is fetched again."""
    sums = cache.pinned(entry.name) if entry.kind == "generator" else cache.expected(entry.name)
    paths = [there / file.name for file in entry.files] if len(entry.files) > 1 else [there]
    return bool(sums) and [files.sha256_of(path) for path in paths] == list(sums.values())


def _fill(entry: Published, from_file: Path | None, watch: downloading.Watch, tell: Callable[[str], None]) -> Path:
    folder = cache.folder_of(entry.name)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{entry.name}.", dir=folder.parent))
    single = len(entry.files) == 1
    try:
        sums, made = {}, []
        for file in entry.files:
            target = partial / (from_file.name if from_file and single else file.name)
            if from_file is None:
                origin = _bring(entry, file, target, watch)
            else:
                source = from_file if single else _one_in(from_file, file.name)
                origin = str(source)
                shutil.copyfile(source, target)
            sums[file.name] = _verified(entry, file, target, origin)
            made.append(target.name)
        _check_network(entry, partial / made[0] if single else partial, sums)
        if entry.kind == "generator" and (warning := entry.stranger(next(iter(sums.values())))):
            tell(f"Warning: {warning}")
        if entry.kind == "generator" or not all(file.sha256 for file in entry.files):
            _pin(entry.name, sums)
        partial.chmod(0o755)  # mkdtemp makes it private; a cache may be shared
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(cache.cache_dir() / "downloads" / entry.name, ignore_errors=True)
    return folder / made[0] if single else folder


def _one_in(folder: Path, ending: str) -> Path:
    """The one file in a folder whose name ends so."""
    found = list(folder.glob(f"*{ending}"))
    if len(found) != 1:
        raise UserError(f"'{folder}' must be a folder with one file named *{ending}, but has {len(found)}.")
    return found[0]


def _bring(entry: Published, file: PublishedFile, target: Path, watch: downloading.Watch) -> str:
    """Download one file; return its address."""
    elsewhere = f"take the file from {entry.source} on another machine and run `{cache.FETCH} {entry.name} --from FILE`"
    if downloading.offline():
        raise UserError(f"{downloading.OFFLINE} is set, so nothing is downloaded; unset it, or {elsewhere}.")
    url = downloading.address_of(entry.name, file)
    if url is None:
        raise UserError(f"{entry.name} has no direct address; {elsewhere}.")
    archive = None if downloading.mirror() else file.archive
    size, sha256 = (archive.size, archive.sha256) if archive else (file.size, file.sha256)
    if entry.kind == "generator" and not archive:
        size = None  # as stated by others, like the sum
    come = cache.cache_dir() / "downloads" / entry.name / (f"{file.name}.zip" if archive else file.name)
    try:
        downloading.download(url, come, size, sha256, watch)
    except PlatformError as error:
        raise PlatformError(f"{str(error).removesuffix('.')}; without a network {elsewhere}.") from None
    if archive is None:
        come.rename(target)
        return url
    found = files.sha256_of(come)
    if found != archive.sha256:
        come.unlink()
        raise PlatformError(f"{url} has SHA-256 {found}, but {archive.sha256} is published: it is another file.")
    take_out(come, archive.member, target, file.size or downloading.MAX_BYTES)
    return f"{archive.member} of {url}"


def take_out(archive: Path, member: str, target: Path, most: int) -> None:
    """Write the only file called `member` in any folder of a zip file to `target`; `most` bytes at most.

    Raises:
        PlatformError: there is none of that name, or several; it is larger, encrypted or damaged.
    """
    try:
        with ZipFile(archive) as zipped:
            found = [one for one in zipped.infolist() if one.filename.rpartition("/")[2] == member]
            if len(found) != 1 or found[0].file_size > most:
                sizes = ", ".join(f"{one.file_size:,}" for one in found) or "none"
                raise PlatformError(
                    f"{archive} must hold one file {member} of {most:,} bytes at most, but has {sizes}."
                )
            with zipped.open(found[0]) as stream, target.open("wb") as out:  # ends at `file_size`, whatever is packed
                shutil.copyfileobj(stream, out, 1 << 20)
    except (BadZipFile, RuntimeError, NotImplementedError, EOFError) as error:
        raise PlatformError(f"{member} cannot be taken out of {archive}: {error}.") from None


def _verified(entry: Published, file: PublishedFile, weights: Path, origin: str) -> str:
    """Check the hash of a weights file, unless it is a generator's, and return it."""
    sha256 = files.sha256_of(weights)
    if entry.kind == "generator":
        return sha256
    if file.sha256 not in (None, sha256):
        raise UserError(
            f"{origin} has SHA-256 {sha256}, but {entry.name} has {file.sha256}: it is another file, or a broken one."
        )
    first = cache.pinned(entry.name).get(file.name, sha256)
    if file.sha256 is None and first != sha256:
        raise UserError(
            f"{origin} has SHA-256 {sha256}, but the first {file.name} of {entry.name} that came here had {first}: its "
            "publisher replaced it, or it was tampered with; if the new one is right, delete "
            f"{cache.pins_file(entry.name)}."
        )
    return sha256


def _check_network(entry: Published, weights: Path, sums: Mapping[str, str]) -> None:
    """Check that the network is the one that the entry describes; write the card of a recogniser beside it."""
    if entry.card is not None:
        card = replace(entry.card, sha256=next(iter(sums.values())))
        loading.check_network(weights, card)
        card_path(weights).write_text(card.to_json(), encoding="utf-8")
    elif entry.kind == "generator":
        from faceverify.fakes.weights import check_file

        check_file(entry.name, weights)
    elif not all(file.sha256 for file in entry.files):
        from faceverify.align import AlignConfig, build

        build(AlignConfig(method=entry.method, weights=str(weights), device="cpu"))  # pyrefly: ignore[bad-argument-type]


def _pin(name: str, sums: Mapping[str, str]) -> None:
    place = cache.pins_file(name)
    place.parent.mkdir(parents=True, exist_ok=True)
    made = place.with_name(f".{place.name}.{os.getpid()}")
    made.write_text(json.dumps(sums), encoding="utf-8")
    made.replace(place)


@contextmanager
def _alone(name: str, tell: Callable[[str], None]) -> Iterator[None]:
    """One process at a time fills the folder of a network; the others wait, and find it there."""
    place = cache.cache_dir() / "locks" / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell(f"Another process is fetching {name}: waiting for it.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
