"""1:N in both published forms against their numbers, and the search in blocks against a whole matrix."""

import json
from pathlib import Path

import numpy as np
import pytest

from faceverify.errors import UserError
from faceverify.protocols import identification
from faceverify.protocols.identification import apart, joined, open_set, search
from faceverify.protocols.ijb import Switches, Templates, build_templates

ADAFACE = {
    "pre_norm_vector_add": Switches(detector=False),
    "norm_weighted_avg": Switches(norm=False, detector=False),
    "average": Switches(norm=False, detector=False, flip="average"),
    "concat": Switches(norm=False, detector=False, flip="concat"),
}


@pytest.fixture(scope="module")
def data(golden: Path) -> dict[str, np.ndarray]:
    with np.load(golden / "zoo/ijb_synth.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def expected(golden: Path) -> dict:
    return json.loads((golden / "zoo/ijb_synth.json").read_text())


@pytest.fixture(scope="module")
def galleries(golden: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Template and subject of each entry of G1 and G2."""
    found = []
    for name in ("G1", "G2"):
        file = golden / f"zoo/ijb_synth/IJBC/meta/ijbc_1N_gallery_{name}.csv"
        rows = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(0, 1), dtype=np.int64)
        template, first = np.unique(rows[:, 0], return_index=True)
        found.append((template, rows[first, 1]))
    return found


def built(data: dict[str, np.ndarray], switches: Switches) -> Templates:
    images = data["templates"], data["medias"], data["features"], data["features_flip"], data["faceness_scores"]
    return build_templates(*images, switches)


def check_joined(data: dict[str, np.ndarray], switches: Switches, want: dict) -> None:
    templates = built(data, switches)
    probes, gallery = (templates.vectors[templates.rows(data[f"id_{of}_template_ids"])] for of in ("probe", "gallery"))
    found = joined(probes, data["id_probe_subjects"], gallery, data["id_gallery_subjects"])
    assert found.ranks == {1: want["top1"], 5: want["top5"], 10: want["top10"]}
    for one, line in zip(found.tpir, want["tpir"], strict=True):
        assert (one.target, one.tpir) == (line["far"], line["tpir"])
        assert one.thresholds[0] == pytest.approx(line["threshold"], abs=1e-9)


@pytest.mark.parametrize("name", ["N1D1F1", "N1D0F1", "N0D1F1", "N0D0F1"])
def test_joined_of_insightface(name: str, data: dict, expected: dict) -> None:
    switches = Switches(norm=name[1] == "1", detector=name[3] == "1")
    check_joined(data, switches, expected["insightface_ijb_1n"][name])


@pytest.mark.parametrize("method", ADAFACE)
def test_joined_of_adaface(method: str, data: dict, expected: dict) -> None:
    check_joined(data, ADAFACE[method], expected["adaface"][method]["identification_G1_and_G2_joined"])


def test_similarities(data: dict) -> None:
    templates = built(data, Switches())
    probes, gallery = (templates.vectors[templates.rows(data[f"id_{of}_template_ids"])] for of in ("probe", "gallery"))
    found = search(probes, data["id_probe_subjects"], gallery, data["id_gallery_subjects"], keep=5)
    matrix = data["id_similarity_N1D1F1"]
    own = data["id_probe_subjects"][:, None] == data["id_gallery_subjects"]
    np.testing.assert_allclose(found.mate, matrix[own], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.highest, np.sort(matrix[~own])[::-1][:5], rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.other, np.where(own, -9, matrix).max(axis=1), rtol=0, atol=1e-12)


def test_apart(data: dict, expected: dict, galleries: list) -> None:
    templates = built(data, Switches())
    probes = templates.vectors[templates.rows(data["id_probe_template_ids"])]
    entries = [(templates.vectors[templates.rows(template)], subject) for template, subject in galleries]
    want = expected["ijb_evals_1N_N1D1F1"]
    found = apart(probes, data["id_probe_subjects"], entries)
    mean = want["mean"]
    assert found.ranks == {1: mean["top1"], 5: mean["top5"], 10: mean["top10"]}
    assert [one.tpir for one in found.tpir] == pytest.approx(mean["tpir"], abs=1e-12)
    for at, name in enumerate(("G1", "G2")):
        one = search(probes, data["id_probe_subjects"], *entries[at])
        assert int((one.mates > 0).sum()) == want[name]["mated_probes"]
        assert [rate.tpir for rate in open_set(one)] == pytest.approx(want[name]["tpir"], abs=1e-12)
        thresholds = [rate.thresholds[at] for rate in found.tpir]
        assert thresholds == pytest.approx(want[name]["threshold"], abs=1e-9)
    grid = want["run_model_test_1N_grid"]
    on_grid = apart(probes, data["id_probe_subjects"], entries, grid["far"]).tpir
    assert [one.tpir for one in on_grid] == pytest.approx(grid["mean_tpir"], abs=1e-12)


@pytest.mark.parametrize(("probes_each", "entries_each"), [(1, 1), (3, 7), (2048, 4096)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_blocks_find_what_the_whole_matrix_holds(
    probes_each: int, entries_each: int, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identification, "_PROBES_AT_A_TIME", probes_each)
    monkeypatch.setattr(identification, "_ENTRIES_AT_A_TIME", entries_each)
    monkeypatch.setattr(identification, "_MATES_AT_A_TIME", 2)
    rng = np.random.default_rng(0)
    probes, gallery = rng.integers(-4, 5, (23, 6)).astype(kind), rng.integers(-4, 5, (40, 6)).astype(kind)  # exact
    person, entry_person = rng.integers(0, 12, 23), rng.integers(-1, 12, 40)
    entry_person[entry_person == 3] = -1  # a person who is only searched for
    person[0] = 3
    found = search(probes, person, gallery, entry_person, keep=9)
    scores, own = probes @ gallery.T, person[:, None] == entry_person
    best = np.where(own, scores, -np.inf).max(axis=1)
    np.testing.assert_array_equal(found.mates, own.sum(axis=1))
    np.testing.assert_array_equal(found.mate, best)
    others = np.where(own, -np.inf, scores)
    above = np.where(own.any(axis=1), (others >= best[:, None]).sum(axis=1), 40)
    np.testing.assert_array_equal(found.above, above)
    np.testing.assert_array_equal(found.other, others.max(axis=1))
    np.testing.assert_array_equal(found.highest, np.sort(scores[~own])[::-1][:9])


def test_equal_scores_count_against_the_probe_however_they_were_rounded() -> None:
    rng = np.random.default_rng(1)
    probe = rng.normal(size=(1, 512)).astype(np.float32)
    probe /= np.linalg.norm(probe)
    gallery = np.repeat(probe, 33, axis=0)  # 32 others with the mate's very vector
    found = search(probe, np.array([0]), gallery, np.array([0] + [-1] * 32))
    assert found.above.tolist() == [32]


def test_a_mapped_gallery_is_read_by_blocks(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    mapped = np.memmap(tmp_path / "gallery", np.float32, "w+", shape=(9000, 4))
    mapped[:] = rng.normal(size=(9000, 4))
    found = search(np.asarray(mapped[8999:]), np.array([5]), mapped, np.arange(9000) - 8994)
    assert found.mates.tolist() == [1] and found.mate[0] == pytest.approx(float((mapped[8999] ** 2).sum()), rel=1e-6)


def test_what_cannot_be_searched_is_a_sentence() -> None:
    vectors, person = np.eye(3), np.arange(3)
    with pytest.raises(UserError, match="cannot be searched"):
        search(vectors, person, vectors[:0], person[:0])
    with pytest.raises(UserError, match="cannot be searched"):
        search(vectors, person, np.eye(2), np.arange(2))
    with pytest.raises(UserError, match=r"1 probes have not exactly one entry \(person 2 has 0\)"):
        joined(vectors, person, vectors, np.array([0, 1, -1]))
    with pytest.raises(UserError, match="3 of 3 probes have an entry"):
        apart(vectors, person, [(vectors, person)])
