"""Lists as spreadsheets and packers write them, and what is refused in one sentence."""

import gzip
import json
import os
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faceverify.datasets import DatasetConfig, FoldersConfig, LfwConfig, Listing, PairListConfig, read, text_lists
from faceverify.datasets.lfw import read_pairs
from faceverify.datasets.pair_lists import open_pairs
from faceverify.datasets.text_lists import open_list, read_lines, read_text
from faceverify.errors import UserError
from faceverify.storage import Location

WAYS: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "utf-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-le"),
    "utf-32": lambda text: text.encode("utf-32"),
    "gzip": lambda text: gzip.compress(text.encode(), mtime=0),
    "gzip in two parts": lambda text: gzip.compress(text[:9].encode(), mtime=0) + gzip.compress(text[9:].encode()),
    "gzip of utf-16": lambda text: gzip.compress(text.encode("utf-16"), mtime=0),
    "a blank first line": lambda text: b"\r\n \n" + text.encode(),
    "a first line of empty cells": lambda text: b";;;\r\n" + text.encode(),
    "line ends of Windows": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "line ends of old Macs": lambda text: text.replace("\n", "\r").encode(),
}
every_way = pytest.mark.parametrize("way", WAYS)


def pairs_of(path: Path, **options: str) -> list[tuple[str, str, int]]:
    pieces = open_pairs(Location(str(path)), PairListConfig(**options))
    return [(row["photo_a"], row["photo_b"], row["label"]) for piece in pieces for row in piece.to_pylist()]


def write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@every_way
@pytest.mark.parametrize("name", ["pairs.csv", "pairs.csv.gz", "pairs.txt", "pairs.tsv", "pairs"])
def test_pairs(tmp_path: Path, way: str, name: str) -> None:
    delimiter = "\t" if name == "pairs.tsv" else ","
    text = "photo_a,photo_b,label\nä/1.jpg,b/2.jpg,1\nä/1.jpg,日/3.jpg,0\n".replace(",", delimiter)
    path = write(tmp_path / name, WAYS[way](text))
    assert pairs_of(path) == [("ä/1.jpg", "b/2.jpg", 1), ("ä/1.jpg", "日/3.jpg", 0)]


@every_way
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_fake_csv(tmp_path: Path, way: str, delimiter: str) -> None:
    write(tmp_path / "root" / "ä" / "1.jpg", b"1")
    text = "photo,is_fake\nä/1.jpg,1\n".replace(",", delimiter)
    csv = write(tmp_path / "fakes.csv", WAYS[way](text))
    listing = listed(tmp_path / "root", "folders", folders=FoldersConfig(fake_csv=str(csv)))
    assert [(row["photo"], row["is_fake"]) for row in listing.photos.to_pylist()] == [("ä/1.jpg", True)]
    write(csv, WAYS["a blank first line"]("photo,is_fake\nä/1.jpg,maybe\n"))
    with pytest.raises(UserError, match="line 4 says is_fake 'maybe'"):
        listed(tmp_path / "root", "folders", folders=FoldersConfig(fake_csv=str(csv)))


def listed(root: Path, layout: str, **options: object) -> Listing:
    return read(Location(str(root)), DatasetConfig(layout=layout, **options))  # pyrefly: ignore


@every_way
def test_celebas_lists(tmp_path: Path, way: str) -> None:
    write(tmp_path / "img_celeba" / "1.jpg", b"1")
    landmarks = "1\nlefteye_x lefteye_y\n1.jpg " + " ".join(map(str, range(10))) + "\n"
    texts = {"identity_CelebA": "1.jpg 7\n", "list_eval_partition": "1.jpg 2\n", "list_landmarks_celeba": landmarks}
    for name, text in texts.items():
        write(tmp_path / f"{name}.txt", WAYS[way](text))
    (row,) = listed(tmp_path, "celeba").photos.to_pylist()
    assert (row["person"], row["split"], row["landmarks"]) == ("7", "test", list(range(10)))


@every_way
def test_lfws_pairs(tmp_path: Path, way: str) -> None:
    path = write(tmp_path / "pairs.txt", WAYS[way]("1\nÄnn\t1\t2\nÄnn\t1\tBob\t2\n"))
    assert pairs_of(path) == [("Änn/Änn_0001.jpg", "Änn/Änn_0002.jpg", 1), ("Änn/Änn_0001.jpg", "Bob/Bob_0002.jpg", 0)]
    assert read_pairs(Location(str(path))).num_rows == 2


@every_way
def test_kryptonites_meta(tmp_path: Path, way: str) -> None:
    write(tmp_path / "images" / "ä" / "1.jpg", b"1")
    write(tmp_path / "meta.json", WAYS[way](json.dumps({"ä/1.jpg": 1}, ensure_ascii=False)))
    (row,) = listed(tmp_path, "kryptonite").photos.to_pylist()
    assert (row["photo"], row["is_fake"]) == ("ä/1.jpg", True)


def test_what_stands_between_the_columns_is_seen(tmp_path: Path) -> None:
    for number, text in enumerate(
        [
            "photo_a;photo_b;label\na,1;b;1\n",
            "photo_a\tphoto_b\tlabel\na,1\tb\t1\n",
            "sep=;\nphoto_a;photo_b;label\na,1;b;1\n",
            "sep=|\r\nphoto_a|photo_b|label\r\na,1|b|1\r\n",
            'photo_a,photo_b,label,,\n"a,1",b,1,,\n',
            '"pathA";"pathB";"label"\n"a,1";"b";1\n',
            ',photo_a,photo_b,label\n0,"a,1",b,1\n',  # as pandas writes its index
            "\tphoto_a\tphoto_b\tlabel\n0\ta,1\tb\t1\n",
        ]
    ):
        assert pairs_of(write(tmp_path / f"{number}.csv", text.encode())) == [("a,1", "b", 1)]
    assert pairs_of(write(tmp_path / "p.csv", b"photo_a|photo_b\na|b\n"), delimiter="|") == [("a", "b", None)]
    with pytest.raises(UserError, match=r"needs photo_a and photo_b"):
        pairs_of(write(tmp_path / "p.csv", b"photo_a,photo_b \na,b\n"))
    with pytest.raises(UserError, match=r"pair_list\.delimiter is 'tab'; give one character"):
        pairs_of(tmp_path / "p.csv", delimiter="tab")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (
            "photo_a,photo_b\na,b\né,b\n".encode("latin-1"),
            r"is not UTF-8 in line 3, at byte 20 of the text \(0xe9\); save",
        ),
        (gzip.compress("photo_a,photo_b\né,b\n".encode("latin-1"), mtime=0), "is not UTF-8 in line 2, at byte 16"),
        ("photo_a,photo_b\n".encode("utf-16") + b"\x00\xdc\n\x00", "is not UTF-16-LE in line 2, at byte 34"),
        (gzip.compress(b"photo_a,photo_b\na,b\n", mtime=0)[:-9], "is damaged gzip data"),
        (b"\x1f\x8bnothing", "is damaged gzip data"),
        (b"PK\x03\x04....", "is a spreadsheet"),
        (b"\xd0\xcf\x11\xe0....", "is a spreadsheet"),
        (b"BZh91AY", "bzip2"),
        (b"", "is empty"),
        (b"\r\n \n;;\n", "is empty"),
        (b"x" * (3 << 20), "line 1 is longer than"),
    ],
)
def test_anything_else_is_one_sentence(tmp_path: Path, data: bytes, match: str) -> None:
    with pytest.raises(UserError, match=match) as refused:
        pairs_of(write(tmp_path / "pairs.csv", data))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 400


def test_a_fault_far_behind_the_beginning_is_found(tmp_path: Path) -> None:
    lines = 300_000
    data = b"photo_a,photo_b\n" + b"a,bcdefgh\n" * lines + b"\xe9,b\n"
    byte = len(data) - 4
    with pytest.raises(UserError, match=rf"in line {lines + 2}, at byte {byte} of"):
        pairs_of(write(tmp_path / "pairs.csv", data))


@pytest.fixture
def traced() -> Iterator[Callable[[], int]]:
    """The most bytes that Python held since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def test_a_list_that_unpacks_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traced: Callable[[], int]
) -> None:
    """16 MB of rows in 16 kB: as much is looked at as a real list of that size may hold, and no more is kept."""
    monkeypatch.setattr(text_lists, "FREE", 1 << 20)
    monkeypatch.setattr(text_lists, "WHOLE", 1 << 20)
    packed = gzip.compress(b"photo_a,photo_b\n" + b"a,b\n" * (4 << 20), mtime=0)
    path = write(tmp_path / "pairs.csv", packed)
    assert len(packed) < 40_000
    tracemalloc.reset_peak()
    with pytest.raises(UserError, match=rf"unpacks to more than {(1 << 20) + 200 * len(packed):,} bytes"):
        for _ in open_pairs(Location(str(path))):
            pass
    for whole in (
        lambda: sum(1 for _ in read_lines(Location(str(path)), "x")),
        lambda: read_text(Location(str(path)), "x"),
    ):
        with pytest.raises(UserError, match=r"unpacks to more than 1,048,576 bytes"):
            whole()
    assert traced() < 12 << 20


def test_a_long_list_is_never_held(tmp_path: Path, traced: Callable[[], int]) -> None:
    path = write(
        tmp_path / "pairs.csv", gzip.compress(b"photo_a,photo_b\n" + b"aaaa/1.jpg,bbbb/2.jpg\n" * 1_000_000, 1, mtime=0)
    )
    tracemalloc.reset_peak()
    with open_list(Location(str(path)), "pairs") as stream:
        size = 0
        while piece := stream.read(1 << 16):
            size += len(piece)
    assert size == 16 + 22_000_000 and traced() < 12 << 20


def test_pipes_folders_and_nothing_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for name, match in (("pipe.csv", r"a pipe \(FIFO\)"), ("", "a folder"), ("gone.csv", "there is no file")):
        with pytest.raises(UserError, match=match):
            read_text(Location(str(tmp_path / name)), "list")
    with pytest.raises(UserError, match=r"a pipe \(FIFO\)"):
        pairs_of(tmp_path / "pipe.csv")
    with pytest.raises(UserError, match=r"a pipe \(FIFO\)"):
        read_pairs(Location(str(tmp_path / "pipe.csv")))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"a": ' * 100_000, "cannot be read as JSON"),
        ('{"a/1.jpg": [[1]]}', r"gives 'a/1.jpg' the value \[\[1\]\]; write 0"),
        ('{"\\ud800": 2}', r"gives '\\ud800' the value 2"),
    ],
)
def test_a_hostile_meta_is_one_sentence(tmp_path: Path, text: str, match: str) -> None:
    write(tmp_path / "images" / "a" / "1.jpg", b"1")
    write(tmp_path / "meta.json", text.encode())
    with pytest.raises(UserError, match=match):
        listed(tmp_path, "kryptonite")


def test_a_name_in_meta_that_no_table_holds_is_a_reject(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a" / "1.jpg", b"1")
    write(tmp_path / "meta.json", b'{"a/1.jpg": 0, "\\ud800.jpg": 1}')
    listing = listed(tmp_path, "kryptonite")
    assert listing.rejects.to_pylist()[0]["photo"] == r"\ud800.jpg" and listing.photos.num_rows == 1


def test_a_pairs_file_with_an_endless_number_is_the_users_mistake(tmp_path: Path) -> None:
    path = write(tmp_path / "pairs.txt", b"1" * 5000 + b"\n")
    with pytest.raises(UserError, match="line 1 is"):
        read_pairs(Location(str(path)))
    assert LfwConfig().pairs == "pairs.txt"
