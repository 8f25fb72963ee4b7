"""IJB's lists: the synthetic set as its numbers say it, and every contradiction as a sentence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from faceverify.datasets.ijb import read_ijb
from faceverify.errors import UserError
from faceverify.storage import open_location


@pytest.fixture
def folder(golden: Path, tmp_path: Path) -> Path:
    """A copy of the lists, with empty files as images."""
    shutil.copytree(golden / "zoo/ijb_synth/IJBC", tmp_path / "IJBC")
    (tmp_path / "IJBC/loose_crop").mkdir()
    for line in (tmp_path / "IJBC/meta/ijbc_face_tid_mid.txt").read_text().splitlines():
        (tmp_path / "IJBC/loose_crop" / line.partition(" ")[0]).touch()
    return tmp_path / "IJBC"


def test_the_lists_hold_what_the_fixture_says(folder: Path, golden: Path) -> None:
    found = read_ijb(open_location(str(folder)))
    with np.load(golden / "zoo/ijb_synth.npz") as want:
        for mine, name in (
            (found.template, "templates"),
            (found.medium, "medias"),
            (found.first, "p1"),
            (found.second, "p2"),
            (found.label, "label"),
        ):
            np.testing.assert_array_equal(mine, want[name])
        np.testing.assert_allclose(found.detector, want["faceness_scores"], atol=1e-7)
        assert found.probes is not None
        entries = np.concatenate([one.template for one in found.galleries.values()])
        for mine, name in ((entries, "gallery"), (found.probes.template, "probe")):
            assert set(mine.tolist()) == set(want[f"id_{name}_template_ids"].tolist())
    assert found.name == "ijbc" and list(found.galleries) == ["G1", "G2"] and len(found.images) == 1294
    assert (
        found.images[0] == "1.jpg"
        and found.landmarks[0].tolist()
        == np.float32(
            [[59.653, 71.351], [92.538, 68.739], [76.111, 88.659], [61.928, 117.590], [91.507, 108.438]]
        ).tolist()
    )


def test_the_lists_of_1_to_n_may_be_missing_and_ijbb_has_its_names(folder: Path) -> None:
    for file in (folder / "meta").iterdir():
        if "_1N_" in file.name:
            file.unlink()
        else:
            file.rename(file.with_name(file.name.replace("ijbc", "ijbb")))
    found = read_ijb(open_location(str(folder)))
    assert (found.name, found.galleries, found.probes) == ("ijbb", {}, None)


def edited(name: str, change: Callable[[list[str]], list[str]]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        file = folder / "meta" / name
        file.write_text("\n".join(change(file.read_text().splitlines())) + "\n")

    return apply


MEDIA, POINTS, PAIRS = "ijbc_face_tid_mid.txt", "ijbc_name_5pts_score.txt", "ijbc_template_pair_label.txt"
PROBES = "ijbc_1N_probe_mixed.csv"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda folder: (folder / "loose_crop/7.jpg").unlink(), r"1 of 1,294 images are not in .*, such as '7.jpg'"),
        (lambda folder: shutil.rmtree(folder / "loose_crop"), "no folder .*loose_crop'; unpack the images"),
        (lambda folder: (folder / "meta" / MEDIA).unlink(), "there is no ijbc_face_tid_mid.txt"),
        (lambda folder: (folder / "meta" / PAIRS).unlink(), "no file .*template_pair_label.txt'"),
        (lambda folder: (folder / "meta" / PROBES).unlink(), "no '.*probe_mixed.csv', but the other lists"),
        (
            edited(POINTS, lambda lines: [lines[0], lines[1].rsplit(" ", 1)[0] + " nan", *lines[2:]]),
            "line 2 has a landmark",
        ),
        (edited(POINTS, lambda lines: lines[:-1]), "1,294 lines and .* 1,293"),
        (edited(POINTS, lambda lines: [lines[1], lines[0], *lines[2:]]), "line 1 is '1.jpg' in .* and '2.jpg' in"),
        (edited(POINTS, lambda lines: [lines[0] + " 1", *lines[1:]]), "has 13 columns in its first line"),
        (edited(MEDIA, lambda lines: [*lines[:3], "x.jpg seven 3", *lines[4:]]), "cannot be read .*seven"),
        (edited(MEDIA, lambda lines: [*lines[:3], "x.jpg  3", *lines[4:]]), "a line with an empty field"),
        (edited(PAIRS, lambda lines: [*lines, "680 999999 0"]), "names 1 templates that have no image, such as 999999"),
        (edited(PAIRS, lambda lines: [*lines, lines[0][:-1] + "2"]), "has the label 2"),
        (edited(PAIRS, lambda lines: [line for line in lines if line.endswith("0")]), "pairs of one label only"),
        (edited(PROBES, lambda lines: [*lines, "773,5,img/1.jpg,1"]), "probes of 1 subjects .* G1 and G2, such as 5"),
        (
            edited("ijbc_1N_gallery_G2.csv", lambda lines: lines[:2]),
            r"probes of 19 subjects that do not have exactly one",
        ),
        (edited(PROBES, lambda lines: [*lines, "999999,1000,img/1.jpg,1"]), "probe_mixed.csv' names 1 templates"),
    ],
)
def test_contradictions_are_sentences(change: Callable[[Path], None], sentence: str, folder: Path) -> None:
    change(folder)
    with pytest.raises(UserError, match=sentence):
        read_ijb(open_location(str(folder)))


def test_the_folder_of_the_lists_itself_is_understood(folder: Path) -> None:
    found = read_ijb(open_location(str(folder / "meta")))
    assert found.images == read_ijb(open_location(str(folder))).images


def test_an_image_named_twice_is_a_sentence(folder: Path) -> None:
    for name in (MEDIA, POINTS):
        edited(name, lambda lines: [*lines, lines[4]])(folder)
    with pytest.raises(UserError, match=r"names the image '5.jpg' twice"):
        read_ijb(open_location(str(folder)))


def test_images_are_not_looked_for_where_they_are_not_wanted(folder: Path) -> None:
    shutil.rmtree(folder / "loose_crop")
    assert len(read_ijb(open_location(str(folder)), images=False).images) == 1294
