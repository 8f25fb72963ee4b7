"""Downloads: gone on with where they broke off, never of another version, never from where they should not come."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from weights_server import Mirror, serving

from faceverify.errors import PlatformError, UserError
from faceverify.models import downloading
from faceverify.models.downloading import address_of, download
from faceverify.models.published import PublishedFile

CONTENT = np.random.default_rng(0).bytes(300_000)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[Mirror]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "w.bin").write_bytes(CONTENT)
    with serving(tmp_path / "served") as one:
        yield one


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "come" / "w.bin"


def broken_off(mirror: Mirror, target: Path, at: int = 100_000, **known: object) -> Path:
    """Download until it breaks off; the part."""
    mirror.break_at = at
    with pytest.raises(PlatformError, match=rf"broke off at {at:,} of 300,000 bytes .*resumes there"):
        download(f"{mirror.address}/w.bin", target, known.get("size"), known.get("sha256"))
    mirror.break_at = None
    mirror.asked.clear()
    return target.with_name("w.bin.part")


def fetched(mirror: Mirror, target: Path, **known: object) -> list[tuple[str | None, int]]:
    """Download the rest; what the server was asked for and sent."""
    download(f"{mirror.address}/w.bin", target, known.get("size"), known.get("sha256"))
    assert target.read_bytes() == (mirror.folder / "w.bin").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["w.bin"]
    return [(wanted, sent) for _, wanted, sent in mirror.asked]


def test_the_whole_in_one_go(mirror: Mirror, target: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    download(f"{mirror.address}/w.bin", target, len(CONTENT), None, lambda done, whole: seen.append((done, whole)))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (300_000, 300_000)


def test_it_goes_on_where_it_broke_off(mirror: Mirror, target: Path) -> None:
    part = broken_off(mirror, target)
    assert part.read_bytes() == CONTENT[:100_000] and not target.exists()
    assert fetched(mirror, target) == [("bytes=100000-", 200_000)]


def test_it_breaks_off_again_and_goes_on(mirror: Mirror, target: Path) -> None:
    broken_off(mirror, target)
    mirror.break_at = 50_000
    with pytest.raises(PlatformError, match="150,000 of 300,000"):
        download(f"{mirror.address}/w.bin", target, None, None)
    mirror.break_at = None
    assert fetched(mirror, target)[1:] == [("bytes=150000-", 150_000)]


def test_a_server_without_ranges_starts_over(mirror: Mirror, target: Path) -> None:
    broken_off(mirror, target)
    mirror.ranges = False
    assert fetched(mirror, target) == [("bytes=100000-", 300_000)]


def test_a_file_that_was_replaced_meanwhile_starts_over(mirror: Mirror, target: Path) -> None:
    """Else the new file would have the beginning of the old one."""
    broken_off(mirror, target)
    (mirror.folder / "w.bin").write_bytes(CONTENT[::-1])
    assert fetched(mirror, target) == [("bytes=100000-", 300_000)]


def test_an_unmarked_part_goes_on_only_if_the_sum_will_tell(mirror: Mirror, target: Path) -> None:
    mirror.etags = False
    broken_off(mirror, target)
    assert fetched(mirror, target) == [(None, 300_000)]
    target.unlink()
    mirror.asked.clear()
    broken_off(mirror, target)
    known = {"sha256": hashlib.sha256(CONTENT).hexdigest()}
    assert fetched(mirror, target, **known) == [("bytes=100000-", 200_000)]


def test_a_part_of_another_address_starts_over(mirror: Mirror, target: Path) -> None:
    (mirror.folder / "other.bin").write_bytes(CONTENT)
    part = broken_off(mirror, target)
    part.with_name("w.bin.part.json").write_text('{"url": "http://elsewhere/w.bin", "mark": "x"}')
    assert fetched(mirror, target) == [(None, 300_000)]


@pytest.mark.parametrize("note", ["", "[]", '{"url": 1}'])
def test_a_damaged_note_starts_over(note: str, mirror: Mirror, target: Path) -> None:
    broken_off(mirror, target).with_name("w.bin.part.json").write_text(note)
    assert fetched(mirror, target) == [(None, 300_000)]


def test_a_part_that_is_whole_is_taken(mirror: Mirror, target: Path) -> None:
    """The process was killed after the last byte, before it was renamed."""
    part = broken_off(mirror, target)
    part.write_bytes(CONTENT)
    assert fetched(mirror, target) == []  # an answer without a body is not noted


def test_a_part_that_is_too_long_starts_over(mirror: Mirror, target: Path) -> None:
    part = broken_off(mirror, target)
    part.write_bytes(CONTENT + b"more")
    assert fetched(mirror, target) == [(None, 300_000)]


def test_ctrl_c_keeps_what_has_come(mirror: Mirror, target: Path) -> None:
    def stops(done: int, whole: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(f"{mirror.address}/w.bin", target, None, None, stops)
    have = target.with_name("w.bin.part").stat().st_size
    assert 0 < have < 300_000
    assert fetched(mirror, target)[-1] == (f"bytes={have}-", 300_000 - have)


def test_another_size_is_refused_before_it_is_read(mirror: Mirror, target: Path) -> None:
    with pytest.raises(PlatformError, match="300,000 bytes and not 299,999"):
        download(f"{mirror.address}/w.bin", target, 299_999, None)
    assert not list(target.parent.iterdir())


def test_a_server_that_is_not_there_and_a_file_that_is_not_there(mirror: Mirror, target: Path) -> None:
    with pytest.raises(PlatformError, match=r"127\.0\.0\.1:9.*refused"):  # nobody listens on the discard port
        download("http://127.0.0.1:9/w.bin", target, None, None)
    with pytest.raises(PlatformError, match="404"):
        download(f"{mirror.address}/none.bin", target, None, None)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://127.0.0.1/w.bin", "data:,x", "w.bin"])
def test_nothing_but_http_is_opened(url: str, target: Path) -> None:
    with pytest.raises(PlatformError, match="Could not download"):
        download(url, target, None, None)
    assert not target.exists()


def test_a_redirection_leads_to_no_file_of_this_machine(mirror: Mirror, target: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(PlatformError, match="not allowed"):
        download(f"{mirror.address}/elsewhere/file://{tmp_path}/secret", target, None, None)
    assert not target.exists()


def test_a_redirection_from_https_to_http_is_refused() -> None:
    import urllib.error
    import urllib.request

    asked = urllib.request.Request("https://example.org/w.bin")
    with pytest.raises(urllib.error.URLError, match="not https"):
        downloading._Redirects().redirect_request(asked, None, 302, "", {}, "http://example.org/w.bin")
    followed = downloading._Redirects().redirect_request(asked, None, 302, "", {}, "https://elsewhere.org/w.bin")
    assert followed.full_url == "https://elsewhere.org/w.bin"


def test_a_mirror_is_asked_in_place_of_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    file = PublishedFile(name="w.onnx", url="https://example.org/pack.zip")
    assert address_of("demo", file) == "https://example.org/pack.zip"
    monkeypatch.setenv("FACEVERIFY_MIRROR", "http://here:8000/weights/")
    assert address_of("demo", file) == "http://here:8000/weights/demo/w.onnx"
    monkeypatch.setenv("FACEVERIFY_MIRROR", "/mnt/weights")
    with pytest.raises(UserError, match=r"FACEVERIFY_MIRROR is '/mnt/weights'.*http"):
        address_of("demo", file)


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_offline(value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEVERIFY_OFFLINE", value)
    assert downloading.offline() is off
