"""Paths as other people write them -> keys relative to the photos' root, or the verdict that they leave it."""

import os
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from faceverify.storage import Location

# Without any of these, and without a dot or slash at either end, a path is in normal form already.
_ODD_BYTES = (b"//", b"/.", b":", b"\0")
_ODD = r"//|/\.|:|\x00|^[./]|/$"
_DRIVE_OR_SCHEME = re.compile(r"[A-Za-z]:|[A-Za-z][A-Za-z0-9+.-]*://")

_ABSOLUTE = r"^(/|[a-z][a-z0-9]*://)"

Column = pa.Array | pa.ChunkedArray


def ways_to_write(root: Location) -> tuple[str, ...]:
    """The absolute forms of a folder that lists may begin their paths with."""
    if not root.is_local:
        return (root.uri,)
    paths = dict.fromkeys((root.path.rstrip("/"), os.path.realpath(root.path)))
    return tuple(form for path in paths if path for form in (path, f"file://{path}"))


def normalise_path(path: str) -> str | None:
    """`path` with `/` as separator and without `.`, `..` and empty parts; None if it leaves the root.

    Absolute paths, drive letters, URIs and NUL bytes are refused too: a key is relative to the root.
    """
    path = path.replace("\\", "/")
    if path.startswith("/") or "\0" in path or _DRIVE_OR_SCHEME.match(path):
        return None
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    normal = "/".join(parts)
    return None if _DRIVE_OR_SCHEME.match(normal) else normal  # "./C:/x" hides its drive at first


def normalise_paths(column: Column, strip_prefix: str = "", roots: Sequence[str] = ()) -> tuple[pa.Array, pa.Array]:
    """`normalise_path` over a string column: (normal paths, mask of those that leave the root).

    A path that leaves the root stays as it was written, so that a report can show it; null becomes "". `strip_prefix`
    (a folder, such as the common root of absolute paths) is taken off first where a path starts with it. `roots` are
    the absolute ways to write the photos' root (see `ways_to_write`): a path below one of them is as good as its rest.
    """
    column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    column = pc.fill_null(column.cast(pa.string()), "")
    slashed = pc.replace_substring(column, "\\", "/") if _holds(column, b"\\") else column
    stripped = _strip(slashed, strip_prefix) if strip_prefix else slashed
    for root in roots if pc.any(pc.match_substring_regex(stripped, _ABSOLUTE)).as_py() else ():
        stripped = _strip(stripped, root)
    if not _maybe_odd(stripped):
        return stripped, pa.repeat(pa.scalar(False), len(column))
    odd = pc.match_substring_regex(stripped, _ODD)
    normal = pa.array([normalise_path(path) for path in stripped.filter(odd).to_pylist()], pa.string())
    merged = pc.replace_with_mask(stripped, odd, normal)
    bad = pc.is_null(merged)
    return pc.if_else(bad, column, merged), bad


def _strip(column: pa.Array, prefix: str) -> pa.Array:
    prefix = prefix.replace("\\", "/").rstrip("/") + "/"
    return pc.if_else(pc.starts_with(column, prefix), pc.utf8_slice_codeunits(column, len(prefix)), column)


def _maybe_odd(column: pa.Array) -> bool:
    """Whether any path may need work: a scan of the characters as one block, much faster than one by one."""
    if any(_holds(column, piece) for piece in _ODD_BYTES):
        return True
    ends = (pc.starts_with(column, "/"), pc.starts_with(column, "."), pc.ends_with(column, "/"))
    return any(pc.any(mask).as_py() for mask in ends)


def _holds(column: pa.Array, piece: bytes) -> bool:
    characters = column.buffers()[2]
    return characters is not None and piece in characters.to_pybytes()
