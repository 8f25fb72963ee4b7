"""What lies below a folder: every file once, and what is no file told for what it is."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceverify.errors import Reason
from faceverify.folder_listing import list_folder, printable

BAD = b"bad\xff.jpg"


def plant(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def found(root: Path, recursive: bool = True, hidden: bool = True) -> tuple[list[str], dict[str, Reason]]:
    files, bad = list_folder(str(root), recursive, hidden)
    assert all((entry.size, entry.mtime_ns) == facts(root / entry.path) for entry in files)
    return [entry.path for entry in files], {entry.path: entry.reason for entry in bad}


def facts(path: Path) -> tuple[int, int]:
    return path.stat().st_size, path.stat().st_mtime_ns


def test_sorted_with_sub_folders_or_without(tmp_path: Path) -> None:
    plant(tmp_path, "b/2.jpg", "a.jpg", "b/c/1.jpg", ".hidden/3.jpg", "b/.x")
    assert found(tmp_path) == ([".hidden/3.jpg", "a.jpg", "b/.x", "b/2.jpg", "b/c/1.jpg"], {})
    assert found(tmp_path, hidden=False)[0] == ["a.jpg", "b/2.jpg", "b/c/1.jpg"]
    assert found(tmp_path, recursive=False)[0] == ["a.jpg"]
    assert list_folder(str(tmp_path / "nothing")) == ([], [])
    with pytest.raises(NotADirectoryError):
        list_folder(str(tmp_path / "a.jpg"))


def test_a_name_that_is_not_utf8_is_told_escaped(tmp_path: Path) -> None:
    plant(tmp_path, "good.jpg", "ü.jpg")
    for folder in (b"", b"in\xe9/"):
        os.makedirs(os.fsencode(tmp_path) + b"/" + folder, exist_ok=True)
        with open(os.fsencode(tmp_path) + b"/" + folder + BAD, "wb"):
            pass
    files, bad = found(tmp_path)
    assert files == ["good.jpg", "ü.jpg"]
    assert bad == {r"bad\xff.jpg": Reason.BAD_NAME, r"in\xe9/bad\xff.jpg": Reason.BAD_NAME}


def test_printable() -> None:
    assert printable("ü/日本") == "ü/日本"
    assert printable(os.fsdecode("ü".encode() + BAD)) == r"übad\xff.jpg"
    assert printable("\ud800x") == r"\ud800x"


def test_a_link_to_a_folder_above_ends(tmp_path: Path) -> None:
    plant(tmp_path, "a/1.jpg", "a/b/2.jpg", "3.jpg")
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path)
    (tmp_path / "a" / "self").symlink_to(".")
    files, bad = found(tmp_path)
    assert files == ["3.jpg", "a/1.jpg", "a/b/2.jpg"]
    assert bad == {"a/b/up": Reason.DUPLICATE, "a/self": Reason.DUPLICATE}


def test_linked_folders_and_files_are_listed_once(tmp_path: Path) -> None:
    outside = plant(tmp_path / "outside", "1.jpg", "deep/2.jpg")
    plant(tmp_path / "alone", "4.jpg", "5.jpg")
    root = plant(tmp_path / "root", "own/3.jpg")
    (root / "linked").symlink_to(outside)
    (root / "again").symlink_to(outside / "deep")  # comes first by name, and lies in the other
    (root / "own" / "x.jpg").symlink_to("3.jpg")
    (root / "own" / "y.jpg").symlink_to(outside / "1.jpg")
    (root / "own" / "z.jpg").symlink_to(tmp_path / "alone" / "4.jpg")
    (root / "own" / "zz.jpg").symlink_to(tmp_path / "alone" / "4.jpg")
    files, bad = found(root)
    assert files == ["again/2.jpg", "linked/1.jpg", "own/3.jpg", "own/z.jpg"]
    assert bad == dict.fromkeys(["own/x.jpg", "own/y.jpg", "own/zz.jpg"], Reason.DUPLICATE)


def test_photos_that_are_links_into_a_hidden_store_are_photos(tmp_path: Path) -> None:
    plant(tmp_path, ".store/ab12", ".one")
    (tmp_path / "1.jpg").symlink_to(".store/ab12")
    (tmp_path / "2.jpg").symlink_to(".one")
    assert found(tmp_path, hidden=False) == (["1.jpg", "2.jpg"], {})


def test_broken_links_are_told(tmp_path: Path) -> None:
    plant(tmp_path, "1.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "ring.jpg").symlink_to("ring2.jpg")
    (tmp_path / "ring2.jpg").symlink_to("ring.jpg")
    files, bad = found(tmp_path)
    assert files == ["1.jpg"]
    assert bad == dict.fromkeys(["gone.jpg", "ring.jpg", "ring2.jpg"], Reason.MISSING)
    assert "nowhere.jpg" in list_folder(str(tmp_path))[1][0].detail


def test_pipes_sockets_and_devices_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(tmp_path, "1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "null.jpg").symlink_to("/dev/null")
    monkeypatch.chdir(tmp_path)  # the address of a socket must be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.jpg")
        files, bad = found(tmp_path)
    assert files == ["1.jpg"]
    assert bad == dict.fromkeys(["null.jpg", "pipe.jpg", "socket.jpg"], Reason.NOT_A_FILE)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may reach (those of pytest are the user's own)."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def listed_by_nobody(folder: Path) -> str:
    """What a user without any rights is told (root may read everything)."""
    code = (
        "import os, sys; from faceverify.folder_listing import list_folder; "
        "os.getuid() or os.seteuid(65534); print(list_folder(sys.argv[1]))"
    )
    ended = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=False)
    return ended.stdout + ended.stderr


def test_folders_that_may_not_be_read_are_told(open_folder: Path) -> None:
    plant(open_folder, "a/1.jpg", "closed/2.jpg", "b/names only/3.jpg")
    (open_folder / "closed").chmod(0)
    (open_folder / "b" / "names only").chmod(0o444)
    told, root = listed_by_nobody(open_folder), listed_by_nobody(open_folder / "closed")
    for folder in (open_folder / "closed", open_folder / "b" / "names only"):
        folder.chmod(0o755)
    assert "path='a/1.jpg'" in told and "2.jpg" not in told and "3.jpg" not in told
    for name in ("closed", "b/names only"):
        assert f"BadEntry(path='{name}', reason=<Reason.UNREADABLE: 'unreadable'>" in told
    assert "PlatformError: the folder" in root and "cannot be read (Permission denied)" in root
