"""TinyFace's folders, and what is wrong with them as sentences."""

from pathlib import Path

import pytest

from faceverify.datasets.tinyface import read_tinyface
from faceverify.errors import UserError
from faceverify.storage import open_location

FILES = (
    "Probe/12_3.jpg",
    "Probe/7_1.jpg",
    "Gallery_Match/12_1.jpg",
    "Gallery_Match/12_2.jpg",
    "Gallery_Distractor/d.jpg",
)


def tree(root: Path, files: tuple[str, ...] = FILES) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


@pytest.mark.parametrize("inside", ["", "Testing_Set"])
def test_folders(tmp_path: Path, inside: str) -> None:
    tree(tmp_path / inside)
    (tmp_path / inside / "probe_img_ID_pairs.mat").touch()
    (tmp_path / inside / "Probe/Thumbs.db").touch()
    found = read_tinyface(open_location(str(tmp_path)))
    assert found.probes == ["Probe/12_3.jpg", "Probe/7_1.jpg"] and found.person.tolist() == [12, 7]
    assert found.gallery == ["Gallery_Match/12_1.jpg", "Gallery_Match/12_2.jpg", "Gallery_Distractor/d.jpg"]
    assert found.entry_person.tolist() == [12, 12, -1]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (FILES[2:], "there is no folder 'Probe'"),
        (FILES[:-1], "there is no folder 'Gallery_Distractor'"),
        ((*FILES[2:], "Probe/notes.txt"), "Probe' holds no photos"),
        ((*FILES, "Gallery_Match/ann_1.jpg"), "'Gallery_Match/ann_1.jpg' .* begins with no person's number"),
        (
            (*FILES, "Gallery_Distractor/12_1.png"),
            "'Gallery_Match/12_1.jpg' and 'Gallery_Distractor/12_1.png' .* one name",
        ),
    ],
)
def test_what_is_wrong_is_a_sentence(files: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=sentence):
        read_tinyface(open_location(str(tree(tmp_path, files))))
