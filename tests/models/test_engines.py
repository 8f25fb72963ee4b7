"""One call over all runtimes: what goes into the network, and batches."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from faceverify.errors import UserError
from faceverify.models import EngineConfig, engines
from faceverify.models.engine_torch import TorchEngine


@settings(max_examples=30)
@given(
    faces=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=5).map(lambda s: (*s, 3))),
    mean=st.tuples(*[st.floats(0, 255, width=32)] * 3),
    std=st.tuples(*[st.floats(1, 255, width=32)] * 3),
    colour=st.sampled_from(["RGB", "BGR"]),
)
def test_preprocess_equals_the_formula(make_card, faces, mean, std, colour):
    got = engines.preprocess(faces, make_card(mean=mean, std=std, colour=colour))
    assert got.dtype == np.float32 and got.flags.c_contiguous
    for channel in range(3):
        source = channel if colour == "RGB" else 2 - channel
        want = (faces[..., source].astype(np.float64) - mean[channel]) / std[channel]
        np.testing.assert_allclose(got[:, channel], want, rtol=1e-6, atol=1e-5)


class Recorder(engines.Engine):
    """Keeps what the network is given, and returns its mean per channel."""

    def __init__(self, card, batch_size):
        super().__init__(card, "recorder", batch_size)
        self.batches = []

    def forward(self, x):
        self.batches.append(len(x))
        return x.mean((2, 3))


@given(count=st.integers(0, 9), batch_size=st.integers(1, 4))
def test_batches_cover_all_faces_in_order(make_card, count, batch_size):
    card = make_card(dim=3, input_size=[16, 16], mean=[0, 0, 0], std=[1, 1, 1])
    engine = Recorder(card, batch_size)
    faces = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((16, 16, 3), np.uint8)
    np.testing.assert_array_equal(engine.embed(faces), np.arange(count)[:, None] * np.ones((1, 3)))
    assert sum(engine.batches) == count and all(size <= batch_size for size in engine.batches)


@pytest.mark.parametrize("shape", [(2, 112, 112), (2, 3, 112, 112), (2, 160, 160, 3)])
def test_pictures_of_another_size_are_refused(tiny, make_card, shape):
    engine = TorchEngine(tiny, make_card(), EngineConfig(provider="cpu"))
    with pytest.raises(UserError, match="112x112x3"):
        engine.embed(np.zeros(shape, np.uint8))


def test_floats_are_refused(tiny, make_card):
    engine = TorchEngine(tiny, make_card(), EngineConfig(provider="cpu"))
    with pytest.raises(UserError, match="uint8"):
        engine.embed(np.zeros((1, 112, 112, 3), np.float32))


def test_a_bgr_card_is_an_rgb_card_on_flipped_pictures(tiny, make_card, faces):
    card = make_card(mean=[10, 20, 30], std=[50, 60, 70])
    other = dataclasses.replace(card, colour="BGR")
    rgb = TorchEngine(tiny, card, EngineConfig(provider="cpu")).embed(faces)
    bgr = TorchEngine(tiny, other, EngineConfig(provider="cpu")).embed(faces[..., ::-1])
    np.testing.assert_array_equal(rgb, bgr)
    assert not np.allclose(rgb, TorchEngine(tiny, other, EngineConfig(provider="cpu")).embed(faces))


@pytest.mark.parametrize(("threads", "env", "expected"), [(3, "2", 3), (0, "2", 2), (0, "", None), (0, "junk", None)])
def test_threads(monkeypatch, threads, env, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", env)
    assert engines.threads_of(EngineConfig(threads=threads)) == (expected or len(os.sched_getaffinity(0)))


def test_the_package_imports_no_runtime():
    code = "import sys, faceverify.models; print(sorted({'torch', 'onnxruntime', 'onnx', 'cv2'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
