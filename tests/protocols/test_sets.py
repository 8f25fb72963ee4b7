"""Sets behind the common interface: the same numbers as the protocols, from files to names."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from faceverify.datasets.ijb import read_ijb
from faceverify.datasets.tinyface import read_tinyface
from faceverify.errors import UserError
from faceverify.protocols.ijb import Switches
from faceverify.protocols.lfw import fold_accuracy
from faceverify.protocols.sets import GallerySet, IjbSet, PairSet, require_photos
from faceverify.storage import open_location


def pairs_of(count: int) -> pa.Table:
    """Pair i is of photos i and i + 1; genuine pairs first."""
    return pa.table(
        {
            "photo_a": [f"{i}.jpg" for i in range(count)],
            "photo_b": [f"{i + 1}.jpg" for i in range(count)],
            "label": pa.array([1] * (count // 2) + [0] * (count - count // 2), pa.int8()),
        }
    )


def test_pairs() -> None:
    made = PairSet.of("mine", pairs_of(60))
    assert len(made.photos) == 61 and [made.photos[row] for row in made.second[:2]] == ["1.jpg", "2.jpg"]
    features, mirrored = np.random.default_rng(0).normal(size=(2, 61, 8)).astype(np.float32)
    features[[made.photos.index("5.jpg")]] = np.nan  # pairs 4 and 5 are left out
    found = made.measure(features, mirrored)
    assert found.counts == {"genuine": 28, "impostor": 30, "left_out": 2}
    assert found.similarity is not None and np.flatnonzero(np.isnan(found.similarity)).tolist() == [4, 5]
    joint = (features + mirrored).astype(np.float64)
    joint /= np.linalg.norm(joint, axis=1, keepdims=True)
    want = (joint[made.first] * joint[made.second]).sum(axis=1)
    np.testing.assert_allclose(found.similarity, want, atol=1e-6)
    assert made.fold is not None and made.fold.tolist() == [i // 3 for i in range(30)] * 2
    kept = ~np.isnan(want)
    assert found.numbers["accuracy"] == fold_accuracy(want[kept], made.label[kept], made.fold[kept]).mean
    assert set(found.numbers) == {"accuracy", "accuracy_std", "eer", "auc", "tar_nearest@0.1", "tar_within@0.1"}
    assert made.measure(features).numbers != found.numbers


def test_folds_of_the_list_are_kept() -> None:
    pairs = pairs_of(60).append_column("fold", pa.array(np.arange(60) % 3))
    fold = PairSet.of("mine", pairs).fold
    assert fold is not None and fold.tolist() == [0, 1, 2] * 20


def test_ijb_from_its_lists(golden: Path) -> None:
    lists = read_ijb(open_location(str(golden / "zoo/ijb_synth/IJBC")), images=False)
    want = json.loads((golden / "zoo/ijb_synth.json").read_text())
    with np.load(golden / "zoo/ijb_synth.npz") as data:
        plain, mirrored = data["features"], data["features_flip"]
    found = IjbSet("ijbc", lists).measure(plain, mirrored).numbers
    rates = want["insightface_eval_ijbc"]["N1D1F1"]
    assert found["tar_nearest@0.01"] == rates["tar_nearest_fpr [tar, fpr, threshold]"][4][0] == 0.735
    assert found["tar_within@0.01"] == rates["tar_last_fpr_not_above"][4] == 0.73
    assert "tar_within@0.0001" not in found  # 4,000 impostor pairs
    assert found["joined_rank_1"] == want["insightface_ijb_1n"]["N1D1F1"]["top1"] == 0.77
    assert found["joined_tpir@0.1"] == want["insightface_ijb_1n"]["N1D1F1"]["tpir"][1]["tpir"]
    mean = want["ijb_evals_1N_N1D1F1"]["mean"]
    assert (found["apart_rank_1"], found["apart_tpir@0.01"]) == (mean["top1"], mean["tpir"][0])
    other = IjbSet("ijbc", lists, Switches(norm=False)).measure(plain).numbers
    assert other["tar_within@0.1"] == want["insightface_eval_ijbc"]["N0D1F0"]["tar_last_fpr_not_above"][5]


def test_ijb_leaves_out_pairs_of_templates_without_a_face(golden: Path) -> None:
    lists = read_ijb(open_location(str(golden / "zoo/ijb_synth/IJBC")), images=False)
    with np.load(golden / "zoo/ijb_synth.npz") as data:
        plain = data["features"].copy()
    template = lists.first[0]
    plain[lists.template == template] = np.nan
    found = IjbSet("ijbc", lists).measure(plain)
    assert found.counts["templates_without_face"] == 1
    assert found.counts["left_out"] == ((lists.first == template) | (lists.second == template)).sum() > 0
    assert all(np.isfinite(list(found.numbers.values())))


def test_tinyface_from_its_folders(golden: Path, tmp_path: Path) -> None:
    want = json.loads((golden / "zoo/tinyface_synth.json").read_text())
    for path in want["image_order"]:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    made = GallerySet.of_tinyface("tinyface", read_tinyface(open_location(str(tmp_path))))
    row = {path: index for index, path in enumerate(want["image_order"])}
    with np.load(golden / "zoo/tinyface_synth.npz") as data:
        plain, mirrored = (data[name][[row[path] for path in made.photos]] for name in ("features", "features_flip"))
    found = made.measure(plain, mirrored)
    rates = want["expected"]["adaface_pre_norm_vector_add"]
    assert found.numbers == pytest.approx({f"rank_{k}": rates[f"rank-{k}"] for k in (1, 5, 20)}, abs=1e-6)
    assert found.counts == {"mated": 122, "not_mated": 1, "entries": 813, "without_face": 0}


def test_a_gallery_of_ones_own_has_tpir_where_probes_without_mate_allow() -> None:
    rng = np.random.default_rng(0)
    people = rng.normal(size=(40, 16))
    probes = people + 0.1 * rng.normal(size=people.shape)
    made = GallerySet("mine", [str(i) for i in range(60)], np.arange(40), np.arange(20), ranks=(1,))
    found = made.measure(np.concatenate([probes, people[:20]]))
    assert found.numbers == {"rank_1": 1.0, "tpir@0.1": 1.0}  # a hundredth of 20 probes is none


def photos_of(photos: list[str], people: list[str | None]) -> pa.Table:
    return pa.table({"photo": pa.array(photos, pa.string()), "person": pa.array(people, pa.string())})


def test_a_gallery_from_tables_of_photos() -> None:
    probes = photos_of(["p/1.jpg", "p/2.jpg"], ["ada", "bo"])
    made = GallerySet.of_photos("mine", probes, photos_of(["g/1.jpg", "g/2.jpg", "g/3.jpg"], ["bo", None, "cy"]))
    assert made.photos == ["p/1.jpg", "p/2.jpg", "g/1.jpg", "g/2.jpg", "g/3.jpg"]
    assert made.person[1] == made.entry_person[0] and made.entry_person[1] == -1
    assert made.person[0] not in made.entry_person and len({*made.person, *made.entry_person}) == 4
    found = made.measure(np.array([[1, 0], [0, 1], [0, 2], [1, 1], [1, 0]], np.float32))
    assert (found.numbers["rank_1"], found.counts["mated"], found.counts["not_mated"]) == (1.0, 1, 1)


def test_galleries_that_cannot_be_are_sentences() -> None:
    probes, gallery = photos_of(["1.jpg"], ["ada"]), photos_of(["2.jpg"], ["ada"])
    with pytest.raises(UserError, match="1 probes and 0 entries"):
        GallerySet.of_photos("mine", probes, gallery.slice(0, 0))
    with pytest.raises(UserError, match="1 probes of 'mine' have no person"):
        GallerySet.of_photos("mine", photos_of(["1.jpg"], [None]), gallery)
    with pytest.raises(UserError, match=r"'1\.jpg' is in 'mine' twice"):
        GallerySet.of_photos("mine", probes, photos_of(["1.jpg"], ["bo"]))


def test_missing_photos_are_a_sentence_before_any_work() -> None:
    made = PairSet.of("mine", pairs_of(60))
    require_photos(made, set(made.photos))
    with pytest.raises(UserError, match=r"mine: 2 of 61 photos are not there, such as '3\.jpg'"):
        require_photos(made, set(made.photos) - {"3.jpg", "9.jpg"})


def test_what_does_not_fit_is_a_sentence() -> None:
    with pytest.raises(UserError, match="must be pairs of both labels"):
        PairSet.of("mine", pairs_of(60).slice(0, 10))
    with pytest.raises(UserError, match=r"'mine' has 61 photos, and the features are \[60, 8\]"):
        PairSet.of("mine", pairs_of(60)).measure(np.ones((60, 8)))
    with pytest.raises(UserError, match="no probe of 'mine' has a photo"):
        GallerySet("mine", ["a", "b"], np.array([1]), np.array([-1])).measure(np.ones((2, 4)))
