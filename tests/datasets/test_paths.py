import os
import os.path
import string
from pathlib import Path

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from faceverify.datasets.paths import normalise_path, normalise_paths, ways_to_write
from faceverify.storage import Location

PIECES = st.sampled_from(["a", "b.jpg", "..", ".", "", "...", "ü", " ", "a:b", "C:", "s3:", "\0", ".hidden", "~"])
PATHS = st.lists(PIECES, max_size=6).flatmap(lambda parts: st.sampled_from(["/", "\\"]).map(lambda s: s.join(parts)))
ANY_TEXT = st.text(st.sampled_from(string.ascii_letters[:3] + "./\\:\0-ü"), max_size=12)


def outside(path: str) -> bool:
    """The oracle: does the path, put behind a root, stay below it?"""
    slashed = path.replace("\\", "/")
    if slashed.startswith("/") or "\0" in path:
        return True
    resolved = os.path.normpath("/deep/root/" + slashed)
    return resolved != "/deep/root" and not resolved.startswith("/deep/root/")


@given(PATHS | ANY_TEXT)
@example("a/../../root/b")
@example("./C:/x")
def test_no_path_leaves_the_root(path: str):
    normal = normalise_path(path)
    if normal is None:
        return
    assert not outside(path) or "/deep/root/../root" in os.path.join("/deep/root", path.replace("\\", "/"))
    assert not outside(normal)
    assert normal == "" or normal == os.path.normpath(path.replace("\\", "/"))
    assert normalise_path(normal) == normal


@given(PATHS | ANY_TEXT)
def test_only_paths_with_a_cause_are_refused(path: str):
    if normalise_path(path) is None:
        slashed = path.replace("\\", "/")
        assert outside(path) or ".." in slashed.split("/") or ":" in path


@given(st.lists(PATHS | ANY_TEXT | st.none(), max_size=20), st.booleans())
def test_columns_are_normalised_like_single_paths(paths: list[str | None], chunked: bool):
    column = pa.array(paths, pa.string())
    normal, bad = normalise_paths(pa.chunked_array([column[:3], column[3:]]) if chunked else column[0:])
    wanted = [normalise_path(path or "") for path in paths]
    assert bad.to_pylist() == [path is None for path in wanted]
    assert normal.to_pylist() == [
        (given or "") if want is None else want for given, want in zip(paths, wanted, strict=True)
    ]


def test_slices_see_their_own_rows():
    column = pa.array(["/bad", "a/b", "a/./c", "../bad"])
    normal, bad = normalise_paths(column[1:3])
    assert normal.to_pylist() == ["a/b", "a/c"] and not any(bad.to_pylist())


def test_absolute_paths_drives_and_schemes_are_refused():
    paths = [
        "/etc/passwd",
        "C:/x.jpg",
        "./C:/x",
        "c:x",
        "\\\\server\\share",
        "s3://b/k",
        "file:///etc/passwd",
        "a\0.jpg",
        "..",
        "a/../..",
    ]
    normal, bad = normalise_paths(pa.array(paths))
    assert all(bad.to_pylist())
    assert normal.to_pylist() == paths


def test_prefix_is_stripped():
    paths = ["/data/img/a/1.jpg", "D:\\x", "/data/img/../secret", "/data/image/1.jpg", "b/2.jpg", "\\data\\img\\c"]
    for prefix in ("/data/img", "/data/img/", "\\data\\img"):
        normal, bad = normalise_paths(pa.array(paths), prefix)
        assert bad.to_pylist() == [False, True, True, True, False, False]
        assert normal.to_pylist() == ["a/1.jpg", *paths[1:4], "b/2.jpg", "c"]


def test_a_prefix_cannot_hide_an_absolute_path():
    _, bad = normalise_paths(pa.array(["/data//etc/passwd"]), "/data")
    assert bad.to_pylist() == [True]


@given(st.lists(PATHS | ANY_TEXT | PATHS.map("/d/photos/".__add__) | PATHS.map("s3://b/photos/".__add__), max_size=20))
@example(["/d/photos/../../etc/passwd", "/d/photosx/a", "/d/photos/a/../b", "file:///d/photos/a"])
def test_below_the_root_absolute_paths_are_relative_ones(paths: list[str]):
    roots = ("/d/photos", "file:///d/photos", "s3://b/photos")
    normal, bad = normalise_paths(pa.array(paths, pa.string()), roots=roots)
    for path, one, outside_root in zip(paths, normal.to_pylist(), bad.to_pylist(), strict=True):
        slashed = path.replace("\\", "/")
        rest = next((slashed.removeprefix(f"{root}/") for root in roots if slashed.startswith(f"{root}/")), slashed)
        assert (None if outside_root else one) == normalise_path(rest)
        assert outside_root or not outside(one)


def test_the_ways_to_write_a_folder(tmp_path: Path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    link, real = f"{tmp_path}/link", os.path.realpath(tmp_path / "real")
    assert ways_to_write(Location(link)) == (link, f"file://{link}", real, f"file://{real}")
    assert ways_to_write(Location("s3://b/photos")) == ("s3://b/photos",)
