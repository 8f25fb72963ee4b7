"""The rendered people of these tests, and a training that runs to its end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training.small import Asked, Data, draw, make

from faceverify.training.loop import Training


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    """12 persons with 4 photos and 2 fakes each; 3 of them to validate with."""
    return draw(tmp_path_factory.mktemp("training"))


Train = Callable[..., Training]


@pytest.fixture
def train(data: Data) -> Train:
    """train(out, **asked): a training that has run to its end."""

    def one(out: Path, **asked: Any) -> Training:
        training = make(data, out, Asked(**asked))
        training.run()
        return training

    return one
