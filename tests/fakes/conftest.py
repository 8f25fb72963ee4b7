"""Rendered faces, and photos tables of any people."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from faceverify.align.geometry import ARCFACE_112
from faceverify.fakes import GENERATORS, Description, FaceInput
from faceverify.fakes.learning import place_of, with_networks
from faceverify.storage import Location
from faceverify.tables import PHOTOS

PhotosOf = Callable[..., pa.Table]
STEPS = 6  # of training: the networks are nothing to look at


@pytest.fixture(scope="session")
def faces() -> list[FaceInput]:
    """Two photos of each of four drawn people, 160x160."""
    from faceverify.rendered import RenderedConfig, render_photo

    config = RenderedConfig(persons=4, photo_size=160)
    return [FaceInput(*render_photo(config, person, photo)) for person in range(4) for photo in range(2)]


@pytest.fixture(scope="session")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with random weights."""
    from faceverify.models import card
    from faceverify.models.checkpoints import build as network
    from faceverify.models.export import export_onnx

    half = [127.5] * 3
    described = card.build(name="tiny", architecture="tiny", colour="RGB", mean=half, std=half, dim=16)
    return export_onnx(network("tiny", 16).eval(), described, tmp_path_factory.mktemp("model") / "tiny.onnx").path


@pytest.fixture(scope="session")
def ready(faces: list[FaceInput], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Description]:
    """The generators that need nothing that is not here, with networks where they learn."""
    place = Location(str(tmp_path_factory.mktemp("networks")))
    found = {name: needs for name, needs in GENERATORS.items() if not (needs.files or needs.extra)}
    for name, needs in found.items():
        if needs.trainer:
            module, _, function = needs.trainer.partition(":")
            people = [(number // 2, face) for number, face in enumerate(faces)]
            *_, networks = getattr(import_module(module), function)(people, STEPS, 0, False)
            place_of(place, name).write_bytes(networks)
            found[name] = with_networks(needs, place_of(place, name))
    return found


@pytest.fixture(scope="session")
def photos_of() -> PhotosOf:
    """A photos table from {person: (real photos with landmarks, real ones without, fakes[, split])}."""

    def make(people: dict[str, tuple]) -> pa.Table:
        rows = []
        for person, (good, bare, fake, *split) in people.items():
            for number in range(good + bare + fake):
                photo = f"{person}/{number:02d}.jpg"
                points = ARCFACE_112 + np.random.default_rng(list(photo.encode())).normal(0, 3, (5, 2))
                row = {"photo": photo, "uri": f"/photos/{photo}", "person": person, "is_fake": number >= good + bare}
                row |= {"split": split[0] if split else None, "generator": "g" if row["is_fake"] else None}
                rows.append(row | {"landmarks": points.ravel() if not good <= number < good + bare else None})
        return pa.Table.from_pylist(rows, PHOTOS)

    return make
