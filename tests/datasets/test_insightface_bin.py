import hashlib
import json
import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faceverify import images
from faceverify.datasets import DatasetConfig, InsightfaceBinConfig, Listing, read
from faceverify.datasets.restricted_pickle import load_arrays
from faceverify.errors import UserError
from faceverify.storage import open_location

RGB = np.random.default_rng(0).integers(0, 256, (20, 24, 3), dtype=np.uint8)
JPEG, PNG = images.encode_jpeg(RGB), images.encode_png(RGB)


class Call:
    """Pickles as a call of any function, which is how a pickle attacks."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def listed(tmp_path: Path, content: object, protocol: int = 4) -> Listing:
    (tmp_path / "set.bin").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    config = DatasetConfig(layout="insightface_bin", insightface_bin=InsightfaceBinConfig(out=str(tmp_path / "out")))
    return read(open_location(str(tmp_path / "set.bin")), config)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_all_kinds_of_photos_in_all_protocols(tmp_path: Path, protocol: int):
    encoded = np.frombuffer(JPEG, np.uint8)
    photos = [JPEG, PNG, encoded[:, None], RGB, RGB[..., 0], b"no picture"]
    listing = listed(tmp_path, (photos, [True, np.True_, False]), protocol)
    assert listing.photos["photo"].to_pylist() == [
        *("000000_0.jpg", "000000_1.png", "000001_0.jpg", "000001_1.png", "000002_0.png", "000002_1.dat"),
    ]
    read_back = [Path(uri).read_bytes() for uri in listing.photos["uri"].to_pylist()]
    assert read_back[:3] == [JPEG, PNG, JPEG] and read_back[5] == b"no picture"
    np.testing.assert_array_equal(images.decode(read_back[3]), RGB)
    np.testing.assert_array_equal(images.decode(read_back[4]), np.repeat(RGB[..., :1], 3, axis=2))
    assert listing.photos["bytes_size"].to_pylist() == [len(data) for data in read_back]
    assert listing.pairs is not None
    assert listing.pairs.select(["pair", "photo_a", "photo_b", "label", "kind"]).to_pylist() == [
        {"pair": "0", "photo_a": "000000_0.jpg", "photo_b": "000000_1.png", "label": 1, "kind": "genuine"},
        {"pair": "1", "photo_a": "000001_0.jpg", "photo_b": "000001_1.png", "label": 1, "kind": "genuine"},
        {"pair": "2", "photo_a": "000002_0.png", "photo_b": "000002_1.dat", "label": 0, "kind": "impostor"},
    ]


def test_arrays_in_place_of_lists(tmp_path: Path):
    listing = listed(tmp_path, [np.stack([RGB, RGB, RGB, RGB]), np.array([True, False])])
    assert len(listing.photos) == 4
    assert listing.pairs is not None and listing.pairs["label"].to_pylist() == [1, 0]


def test_fortran_order_keeps_pixels():
    loaded = load_arrays(pickle.dumps([np.asfortranarray(RGB)]))
    np.testing.assert_array_equal(loaded[0], RGB)


def test_python_2_pickle(tmp_path: Path):
    # ([photo, photo], [True]) with Python 2 strings (SHORT_BINSTRING / BINSTRING), protocol 2.
    item = b"T" + len(JPEG).to_bytes(4, "little") + JPEG
    listing = listed(tmp_path, b"\x80\x02](" + item + item + b"e](\x88e\x86.")
    assert Path(listing.photos["uri"][1].as_py()).read_bytes() == JPEG


@pytest.mark.parametrize(
    "name", ["py2_protocol0", "py2_protocol2", "py3_protocol2", "py3_protocol4", "numpy_uint8_protocol4"]
)
def test_files_of_every_writer(name: str, tmp_path: Path, golden: Path):
    want = json.loads((golden / "zoo/pair_formats.json").read_text())["bin_samples"][f"{name}.bin"]
    listing = listed(tmp_path, (golden / f"zoo/bin_samples/{name}.bin").read_bytes())
    assert listing.pairs is not None and listing.pairs["label"].to_pylist() == want["issame"]
    hashes = {
        photo: hashlib.sha256(Path(uri).read_bytes()).hexdigest()
        for photo, uri in zip(*(listing.photos[column].to_pylist() for column in ("photo", "uri")), strict=True)
    }
    sides = zip(*(listing.pairs[column].to_pylist() for column in ("photo_a", "photo_b")), strict=True)
    assert [hashes[photo] for pair in sides for photo in pair] == want["encoded_sha256"]


@pytest.mark.parametrize(
    "name", ["py2_protocol0", "py2_protocol2", "py3_protocol2", "py3_protocol4", "numpy_uint8_protocol4"]
)
@pytest.mark.parametrize("part", [0.3, 0.999])
def test_files_that_break_off_are_sentences(name: str, part: float, tmp_path: Path, golden: Path):
    data = (golden / f"zoo/bin_samples/{name}.bin").read_bytes()
    with pytest.raises(UserError, match=r"is no verification \.bin"):
        listed(tmp_path, data[: int(part * len(data))])


def test_folds_are_contiguous_or_drawn_from_each_class(tmp_path: Path):
    photos = [JPEG] * 80
    listing = listed(tmp_path, (photos, [True, True, False, False] * 10))
    assert listing.pairs is not None and listing.pairs["fold"].to_pylist() == [pair // 4 for pair in range(40)]
    assert not listing.notes
    listing = listed(tmp_path, (photos, [True] * 20 + [False] * 20))
    assert listing.pairs is not None and listing.pairs["fold"].to_pylist() == [pair // 2 for pair in range(20)] * 2
    assert "genuine and impostor pairs drawn apart" in listing.notes[0]


def test_real_file(tmp_path: Path, shared_data: Path):
    config = DatasetConfig(layout="insightface_bin", insightface_bin=InsightfaceBinConfig(out=str(tmp_path)))
    listing = read(open_location(str(shared_data / "odd/small_lfw.bin")), config)
    assert listing.pairs is not None and listing.pairs["label"].to_pylist() == [1] * 10
    for uri in listing.photos["uri"].to_pylist():
        assert images.decode(Path(uri).read_bytes()).shape == (112, 112, 3)
        assert cv2.imread(uri) is not None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, subprocess.getoutput, eval, exec])
def test_hostile_pickle_runs_nothing(tmp_path: Path, function: Callable[..., object], protocol: int):
    witness = tmp_path / "ran"
    command = (
        f"__import__('pathlib').Path({str(witness)!r}).touch()" if function in (eval, exec) else f"touch {witness}"
    )
    hostile = pickle.dumps(([JPEG, Call(function, command)], [True]), protocol)
    with pytest.raises(UserError, match="which no such file needs"):
        listed(tmp_path, hostile)
    assert not witness.exists()
    pickle.loads(hostile)  # an ordinary reader does run it: the attack is a real one
    assert witness.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02cos\nsystem\n.",
        b"cnumpy\nndarray\n}S'__call__'\nNsb.",  # BUILD on a name
        b"cnumpy.core.multiarray\n_reconstruct\n(lp0\ntR(I1\n(I99999999999\ntcnumpy\ndtype\n(S'u1'\ntRI00\nS'x'\ntb.",
        b"cnumpy\ndtype\n(S'O8'\ntR.",
        b"cbuiltins\nbytes\n(I1000000000000\ntR.",
        b"c_codecs\nencode\n(VAAAA\nS'rot13'\ntR.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x82\x01.",
        b"Pid\n.",
        b"",
        JPEG,
    ],
)
def test_hostile_or_foreign_bytes_are_refused(data: bytes):
    with pytest.raises(ValueError):
        load_arrays(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**6), st.binary(min_size=1, max_size=8))
def test_mutated_pickles_never_crash(place: int, new: bytes):
    data = bytearray(pickle.dumps(([PNG, np.zeros((2, 2, 3), np.uint8)], [True]), 2))
    at = place % 200 if place % 2 else -1 - place % 250
    data[at : at + len(new) if at + len(new) else None] = new
    try:
        load_arrays(bytes(data))
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (([JPEG, JPEG, JPEG], [True]), "two photos for each"),
        (([], []), "two photos for each"),
        ([JPEG], "does not hold"),
        ("text", "does not hold"),
        (([JPEG, JPEG], [2]), "booleans"),
        (([JPEG, JPEG], ["yes"]), "booleans"),
        (([JPEG, "text"], [True]), "photo 1 of .* is str"),
        (([JPEG, np.zeros((4, 4, 3), np.int64)], [True]), "photo 1"),
        (([JPEG, np.zeros((4, 4, 3), np.float32)], [True]), "array of type 'f4'"),
    ],
)
def test_other_contents_are_the_users_mistake(tmp_path: Path, content: object, match: str):
    with pytest.raises(UserError, match=match):
        listed(tmp_path, content)


def test_out_is_required(tmp_path: Path):
    with pytest.raises(UserError, match=r"insightface_bin\.out"):
        read(open_location(str(tmp_path / "set.bin")), DatasetConfig(layout="insightface_bin"))
    config = DatasetConfig(layout="insightface_bin", insightface_bin=InsightfaceBinConfig(out=str(tmp_path)))
    with pytest.raises(UserError, match="cannot be read"):
        read(open_location(str(tmp_path / "absent.bin")), config)
