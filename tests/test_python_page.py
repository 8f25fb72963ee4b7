"""The Python of the pages runs from top to bottom, in a folder with the files that it names."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stand_ins
from doc_commands import ROOT
from stand_ins import PHOTO, write_detector

FENCE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = {"README.md": 1, "docs/python.md": 5}  # and the fewest blocks that each has
# What is rewritten: published names become files that stand in for them.
STAND_INS = (
    (r'Verifier\("sface"(?=\)|, policy)', 'Verifier("net.onnx", weights="detector.onnx"'),
    (r'Verifier\("sface"', 'Verifier("net.onnx"'),
    (r'method="yunet"', 'method="yunet", weights="detector.onnx"'),
)


def run_blocks(page: str) -> dict[str, Any]:
    """Run the blocks of a page one after the other in one namespace, which comes back."""
    names: dict[str, Any] = {}
    for number, block in enumerate(FENCE.findall((ROOT / page).read_text())):
        for published, instead in STAND_INS:
            block = re.sub(published, instead, block)
        exec(compile(block, f"{page}, block {number}", "exec"), names)
    return names


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_ins.write_embedder(tmp_path / "net.onnx")
    write_detector(tmp_path / "detector.onnx")
    for name, path in zip("abc", stand_ins.write_photos(tmp_path, 2, 2, PHOTO), strict=False):
        path.rename(tmp_path / f"{name}.jpg")
    (tmp_path / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    assert len(FENCE.findall((ROOT / page).read_text())) >= PAGES[page]
    made = run_blocks(page)
    if page == "docs/python.md":
        said = capsys.readouterr().out
        assert "not_an_image starts with" in said and "'nobody.jpg' is no photo" in said
        assert made["similarities"].shape == (1, 3) and made["similarities"].argmax() == 0
        assert np.array_equal(np.load("gallery.npy"), made["gallery"].matrix) and made["gallery"].ok.all()
        assert made["strict"].crop["policy"] == "refuse" and made["fine"].crop["detect_side"] == 1280
