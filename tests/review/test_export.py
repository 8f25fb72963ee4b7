"""The mailed file is inert apart from our own script, and holds each picture once."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
from review.clean_output import NAMES, SCRIPT

from faceverify.images import ImageLimits
from faceverify.review.export import export
from faceverify.storage import Location


@pytest.fixture
def text(clean: Path, tmp_path: Path) -> str:
    export(Location(str(clean)), Location(str(tmp_path / "page.html")), ImageLimits(), 200)
    return (tmp_path / "page.html").read_text()


def test_only_our_script_and_style_run(text: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#39;", "'")
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for kind, content in (("script", script), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert len(re.findall("<script", text)) == 2 and SCRIPT not in text
    assert not re.search(r"(src|href)=\"?https?:", text)


def test_it_holds_all_that_the_page_asks_for(text: str) -> None:
    data = json.loads(re.search(r'id="embedded">(.*?)</script>', text, re.DOTALL)[1])
    assert [case["view"]["person"] for case in data["cases"]] == NAMES[:10]
    assert set(data["people"]) == set(NAMES)
    assert len(set(data["pictures"])) == len(data["pictures"])
    assert all(picture.startswith("data:image/") for picture in data["pictures"])


def test_the_same_run_gives_the_same_file(text: str, clean: Path, tmp_path: Path) -> None:
    export(Location(str(clean)), Location(str(tmp_path / "again.html")), ImageLimits(), 200)
    assert (tmp_path / "again.html").read_text() == text
