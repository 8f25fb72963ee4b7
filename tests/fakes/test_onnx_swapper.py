"""Every ONNX swapper is fed as published: against golden numbers, and rows against sums done by hand."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import graphs
from golden import recipe
from onnx import TensorProto

from faceverify.align.geometry import ARCFACE_112, SHARES, fit_points
from faceverify.errors import BadData, PlatformError, Reason, UserError
from faceverify.fakes import GENERATORS, FaceInput, Fake, Generator, Request, Weights, build, pasting
from faceverify.fakes.onnx_graph import identity_table
from faceverify.fakes.onnx_swapper import latent
from faceverify.fakes.swapper_table import SWAPPERS
from faceverify.models import onnx_file, registry

GOLDEN = Path(__file__).parent.parent / "golden" / "generators"
CASES = json.loads((GOLDEN / "inswapper.json").read_text())["cases"]


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-ins are no files of strangers: none is tried in a process of its own first."""
    monkeypatch.setattr(registry, "is_published", lambda sha256: True)


def swapper(name: str, *paths: Path) -> Generator:
    """A generator of the table with these files in place of the published ones."""
    needs = GENERATORS[name]
    found = [Weights(file, str(path), "0" * 64) for file, path in zip(needs.files, paths, strict=True)]
    return build(replace(needs, weights=tuple(found)))


def request(source: FaceInput, target: FaceInput) -> Request:
    return Request((source,), target, np.random.default_rng(0))


# -- inswapper against the published program ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden_inswapper() -> Any:
    return np.load(GOLDEN / "inswapper.npz")


@pytest.mark.parametrize("batch", [1, 7])
def test_inswapper(golden_inswapper, batch):
    made = swapper("inswapper", GOLDEN / "inswapper_standin.onnx")
    model = onnx_file.read(GOLDEN / "inswapper_standin.onnx")
    table = identity_table(model, GOLDEN)
    requests = []
    for name, case in CASES.items():
        one = {key: golden_inswapper[f"{name}_{key}"] for key in ("embedding", "latent", "landmarks")}
        assert np.abs(latent(one["embedding"], table) - one["latent"]).max() < 1e-6
        person = FaceInput(recipe.image(1, 112, 112), ARCFACE_112, one["embedding"])
        requests.append(request(person, FaceInput(recipe.image(*case["image"]), one["landmarks"])))
    fakes = [fake for at in range(0, 7, batch) for fake in made.make(requests[at : at + batch])]
    compared = 0
    for name, wanted, fake in zip(CASES, requests, fakes, strict=True):
        if isinstance(fake, BadData):  # what the published program pastes of a face outside the photo, or of no size
            assert fake.reason is Reason.BAD_LANDMARKS and name in ("tiny", "edge", "larger_than_picture")
            continue
        assert np.abs(fake.image.astype(int) - golden_inswapper[f"{name}_final"]).max() <= 1
        assert (fake.landmarks == wanted.target.landmarks).all()
        x0, y0, x1, y1 = fake.box
        outside = np.ones(fake.image.shape[:2], bool)
        outside[y0:y1, x0:x1] = fake.mask == 0
        assert (fake.image == wanted.target.image)[outside].all()
        compared += 1
    assert compared >= 4


def test_what_inswapper_gives(golden_inswapper):
    made = swapper("inswapper", GOLDEN / "inswapper_standin.onnx")
    for name in ("normal", "edge"):
        planes = golden_inswapper[f"{name}_aligned"].transpose(2, 0, 1)[None].astype(np.float32) / 255
        raw = made._graph.run(target=planes, source=golden_inswapper[f"{name}_latent"])[0]
        assert np.abs(raw - golden_inswapper[f"{name}_raw"]).max() < 1e-5
        picture = (255 * raw).astype(np.uint8).transpose(1, 2, 0)
        assert np.abs(picture.astype(int) - golden_inswapper[f"{name}_generated"]).max() <= 1


# -- the rows, by hand -------------------------------------------------------------------------------------------------

HALF, IMAGENET = ([0.5] * 3, [0.5] * 3), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
PLAIN = ([0.0] * 3, [1.0] * 3)
# What facefusion and Ghost do: template, size, mean and deviation of the target, what is fed of the person (`back` is
# the stand-in converter), whether -1..1 comes out.
ROWS = {
    "inswapper": ("arcface_128", 128, PLAIN, "table", False),
    "inswapper_fp16": ("arcface_128", 128, PLAIN, "table", False),
    "ghost_1_256": ("arcface_112_v1", 256, HALF, "raw back", True),
    "ghost_2_256": ("arcface_112_v1", 256, HALF, "raw back", True),
    "ghost_3_256": ("arcface_112_v1", 256, HALF, "raw back", True),
    "simswap_256": ("arcface_112_v1", 256, IMAGENET, "unit back", False),
    "simswap_unofficial_512": ("arcface_112_v1", 512, PLAIN, "unit back", False),
    "blendswap_256": ("ffhq_512", 256, PLAIN, ("arcface_112_v2", 112), False),
    "uniface_256": ("ffhq_512", 256, HALF, ("ffhq_512", 256), True),
    "hififace_unofficial_256": ("mtcnn_512", 256, HALF, "unit back", True),
    "hyperswap_1a_256": ("arcface_128", 256, HALF, "unit", True),
    "hyperswap_1b_256": ("arcface_128", 256, HALF, "unit", True),
    "hyperswap_1c_256": ("arcface_128", 256, HALF, "unit", True),
}


def cropped(face: FaceInput, template: str, size: int, border: int) -> tuple[np.ndarray, np.ndarray]:
    matrix = fit_points(face.landmarks[None], SHARES[template] * size)[0]
    return matrix, cv2.warpAffine(face.image, matrix, (size, size), borderMode=border) / 255


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def by_hand(name: str, source: FaceInput, target: FaceInput) -> np.ndarray:
    """The photo that the stand-in makes, in double precision from the published rules."""
    template, size, (mean, std), fed, signed = ROWS[name]
    border = cv2.BORDER_CONSTANT if name.startswith("inswapper") else cv2.BORDER_REPLICATE
    matrix, crop = cropped(target, template, size, border)
    if isinstance(fed, tuple):
        first = cropped(source, *fed, cv2.BORDER_REPLICATE)[1].mean(axis=(0, 1))
    elif fed == "table":
        first = unit(unit(source.embedding) @ graphs.table())[:3]
    else:
        vector = 3 * source.embedding[::-1] if "back" in fed else source.embedding
        first = (unit(vector) if "unit" in fed else vector)[:3]
    made = (crop - mean) / std + 0.1 * first
    made = 255 * np.clip(made * 0.5 + 0.5 if signed else made, 0, 1)
    if name.startswith("inswapper"):
        return pasting.square(target.image, made.astype(np.uint8), matrix).image
    return pasting.box(target.image, made.astype(np.float32), matrix, pasting.box_mask(size)).image


def test_every_row_is_compared():
    assert ROWS.keys() == SWAPPERS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_row(name, faces, tmp_path):
    paths = []
    for file in GENERATORS[name].files:
        paths.append(tmp_path / f"{file}.onnx")
        graphs.write(graphs.published(file), paths[-1])
    made = swapper(name, *paths)
    identity = made.description.identity
    vector = np.random.default_rng(3).standard_normal(512).astype(np.float32) * (1 if "ghost" in name else 20)
    if identity is not None:
        assert identity.model == "w600k_r50"
        vector = unit(vector) if identity.form == "unit" else vector
    source, target = replace(faces[0], embedding=vector if identity else None), faces[2]
    [fake] = made.make([request(source, target)])
    assert isinstance(fake, Fake), fake
    expected = by_hand(name, source, target)
    tolerance = 2 if name.endswith("fp16") else 1
    assert np.abs(fake.image.astype(int) - expected).max() <= tolerance
    assert np.abs(fake.image.astype(int) - target.image).max() > 3


# -- finding what belongs where, batches, threads ----------------------------------------------------------------------


@pytest.mark.parametrize("names", [("target", "source"), ("input_2", "onnx::Gemm_1"), ("source", "target")])
def test_inputs_are_found_by_name_else_by_shape(names, faces, tmp_path):
    row = SWAPPERS["hyperswap_1a_256"]
    graphs.write(graphs.swapper(row, names=names), tmp_path / "x.onnx")
    source = replace(faces[0], embedding=unit(np.arange(512, dtype=np.float32)))
    if names == ("source", "target"):  # names that mean the opposite
        with pytest.raises(UserError, match=r"x\.onnx is another model: it must take target \[N, 3, 256, 256\]"):
            swapper("hyperswap_1a_256", tmp_path / "x.onnx")
        return
    [fake] = swapper("hyperswap_1a_256", tmp_path / "x.onnx").make([request(source, faces[2])])
    assert np.abs(fake.image.astype(int) - by_hand("hyperswap_1a_256", source, faces[2])).max() <= 1


@pytest.mark.parametrize("batch", [1, "N"])
def test_a_face_comes_out_the_same_whatever_is_beside_it(batch, faces, tmp_path, monkeypatch):
    row = SWAPPERS["hyperswap_1a_256"]
    graphs.write(graphs.swapper(row, batch=batch), tmp_path / "x.onnx")
    rng = np.random.default_rng(5)
    people = [replace(face, embedding=unit(rng.standard_normal(512)).astype(np.float32)) for face in faces]
    requests = [request(people[at], people[(at + 2) % 8]) for at in range(8)]
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    alone = [fake for one in requests for fake in swapper("hyperswap_1a_256", tmp_path / "x.onnx").make([one])]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    made = swapper("hyperswap_1a_256", tmp_path / "x.onnx")
    together = made.make(requests)
    assert [fake.image.tobytes() for fake in together] == [fake.image.tobytes() for fake in alone]
    assert len({fake.image.tobytes() for fake in together}) == 8


def test_half_precision_in_and_out(faces, tmp_path):
    row = SWAPPERS["hyperswap_1a_256"]
    graphs.write(graphs.swapper(row, kind=TensorProto.FLOAT16), tmp_path / "x.onnx")
    source = replace(faces[0], embedding=unit(np.arange(512, dtype=np.float32)))
    [fake] = swapper("hyperswap_1a_256", tmp_path / "x.onnx").make([request(source, faces[2])])
    assert np.abs(fake.image.astype(int) - by_hand("hyperswap_1a_256", source, faces[2])).max() <= 2


# -- what cannot be used -----------------------------------------------------------------------------------------------


def test_faces_that_cannot_be_used_cost_their_own_fake_only(faces, tmp_path):
    graphs.write(graphs.swapper(SWAPPERS["hyperswap_1a_256"]), tmp_path / "x.onnx")
    made = swapper("hyperswap_1a_256", tmp_path / "x.onnx")
    vector = unit(np.arange(1, 513, dtype=np.float32))
    good = replace(faces[0], embedding=vector)
    nan, zero = (replace(faces[0], embedding=np.full(512, value, np.float32)) for value in (np.nan, 0))
    huge = replace(faces[0], embedding=np.full(512, np.inf, np.float32))
    at_edge = replace(faces[2], landmarks=faces[2].landmarks + np.float32([90, 0]))
    one_point = replace(faces[2], landmarks=np.full((5, 2), 20, np.float32))
    middle = faces[2].landmarks.mean(axis=0)
    speck = replace(faces[2], landmarks=middle + (faces[2].landmarks - middle) / 20)
    cases = [
        (good, faces[2], None),
        (nan, faces[2], Reason.BAD_EMBEDDING),
        (zero, faces[2], Reason.BAD_EMBEDDING),
        (huge, faces[2], Reason.BAD_EMBEDDING),
        (good, at_edge, Reason.BAD_LANDMARKS),
        (good, one_point, Reason.BAD_LANDMARKS),
        (good, speck, Reason.BAD_LANDMARKS),
        (good, replace(faces[0], embedding=None), Reason.NO_TARGET),
        (good, faces[3], None),
    ]
    fakes = made.make([request(source, target) for source, target, _ in cases])
    assert [getattr(fake, "reason", None) for fake in fakes] == [reason for *_, reason in cases]
    assert "the very photo of the person" in fakes[7].detail


def test_numbers_that_are_not_finite_make_no_picture(faces, tmp_path):
    import onnx

    model = graphs.swapper(SWAPPERS["hyperswap_1a_256"])
    for tensor in model.graph.initializer:
        if tensor.name == "tenth":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.array(np.inf, np.float32), "tenth"))
    graphs.write(model, tmp_path / "x.onnx")
    source = replace(faces[0], embedding=unit(np.arange(512, dtype=np.float32)))
    [fake] = swapper("hyperswap_1a_256", tmp_path / "x.onnx").make([request(source, faces[2])])
    assert isinstance(fake, BadData) and fake.reason is Reason.BAD_FAKE


def test_no_room_for_a_network_is_a_sentence_and_so_is_a_graph_that_breaks(faces, tmp_path, monkeypatch):
    graphs.write(graphs.swapper(SWAPPERS["hyperswap_1a_256"]), tmp_path / "x.onnx")
    made = swapper("hyperswap_1a_256", tmp_path / "x.onnx")
    source = replace(faces[0], embedding=unit(np.arange(512, dtype=np.float32)))

    class Broken:
        def __init__(self, told: str) -> None:
            self.told = told

        def run(self, *_: object) -> None:
            raise RuntimeError(self.told)

    for told, kind, words in (
        ("Failed to allocate memory for requested buffer of size 1\nmore", PlatformError, "x.onnx found no memory"),
        ("Non-zero status code while running Gather", UserError, r"x\.onnx cannot be run \(Non-zero .*as published"),
    ):
        monkeypatch.setattr(made._graph, "_session", Broken(told))
        with pytest.raises(kind, match=words) as caught:
            made.make([request(source, faces[2])])
        assert "\n" not in str(caught.value)
