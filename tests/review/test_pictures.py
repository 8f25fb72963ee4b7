"""Thumbnails, and what stands for photos that cannot be read."""

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from faceverify.images import ImageLimits, read_image_size
from faceverify.review.pictures import Thumbnails


def test_a_photo_becomes_small(drawn: Path) -> None:
    picture = Thumbnails(ImageLimits()).get(str(drawn / "person_0000" / "real_00.jpg"), 48)
    assert picture.media_type == "image/jpeg" and not picture.failed
    assert max(read_image_size(picture.data)[1:]) == 48


@pytest.mark.parametrize(
    "content, reason", [(None, "missing"), (b"", "empty"), (b"<svg onload=alert(1)>", "unsupported")]
)
def test_a_bad_photo_says_why_and_is_looked_at_again(
    tmp_path: Path, drawn: Path, content: bytes | None, reason: str
) -> None:
    file, pictures = tmp_path / "<b>&'.jpg", Thumbnails(ImageLimits())
    if content is not None:
        file.write_bytes(content)
    picture = pictures.get(str(file), 48)
    assert picture.failed and picture.media_type == "image/svg+xml"
    assert reason in "".join(ElementTree.fromstring(picture.data).itertext())
    file.write_bytes((drawn / "person_0000" / "real_00.jpg").read_bytes())
    assert not pictures.get(str(file), 48).failed


def test_what_is_no_file_says_so_and_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    uris = {
        str(tmp_path / "pipe.jpg"): "not a file",
        "/a\0b.jpg": "bad name",
        "gs://b/a.jpg": "bad name",
        "": "bad name",
    }
    uris |= {str(tmp_path): "not a file", str(tmp_path / "bell\a.jpg"): "missing"}
    for uri, reason in uris.items():
        picture = Thumbnails(ImageLimits()).get(uri, 48)
        assert picture.failed
        assert reason in "".join(ElementTree.fromstring(picture.data).itertext())


def test_limits_hold(drawn: Path) -> None:
    photo = str(drawn / "person_0000" / "real_00.jpg")
    assert b"too many pixels" in Thumbnails(ImageLimits(max_pixels=96 * 96 - 1)).get(photo, 48).data
    assert b"too many bytes" in Thumbnails(ImageLimits(max_bytes=100)).get(photo, 48).data
