"""Graphs are tried in a process of its own first: those that bring it down or ask for too much are refused."""

import hashlib
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faceverify.align import AlignConfig, build
from faceverify.errors import UserError
from faceverify.models import cache, load_engine, trial
from faceverify.models.card import card_path
from ray_jobs import models


def graph(*nodes, tensors=()):
    """A graph whose input [2, 3, 112, 112] becomes `out` [2, 32]."""
    port = helper.make_tensor_value_info
    inputs = [port("in", TensorProto.FLOAT, [2, 3, 112, 112])]
    body = helper.make_graph(list(nodes), "g", inputs, [port("out", TensorProto.FLOAT, [2, 32])], list(tensors))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def huge():
    """A few bytes that make 68 GB of zeros when they are optimised or run."""
    shape = numpy_helper.from_array(np.array([1 << 17, 1 << 17], np.int64), "shape")
    small = numpy_helper.from_array(np.array([2, 32], np.int64), "small")
    return graph(
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("ReduceMean", ["in"], ["mean"], keepdims=0),
        helper.make_node("Add", ["sum", "mean"], ["both"]),
        helper.make_node("Expand", ["both", "small"], ["out"]),
        tensors=[shape, small],
    )


@pytest.fixture
def bomb(tmp_path, make_card, cache_folder):
    path = tmp_path / "bomb.onnx"
    onnx.save(huge(), path)
    card_path(path).write_text(make_card(architecture="onnx").to_json())
    return path


def test_a_graph_that_asks_for_gigabytes_is_refused(bomb):
    with pytest.raises(UserError, match=r"cannot load .*bomb\.onnx \("):
        load_engine(str(bomb))
    assert not (cache.cache_dir() / "tried").exists()


def test_the_same_as_a_detector(bomb):
    for method in ("scrfd", "yunet"):
        with pytest.raises(UserError, match=f"is not a {method} network"):
            build(AlignConfig(method=method, weights=str(bomb)))


def test_the_card_command_tries_it_too(bomb, capsys):
    code = models.main(["card", str(bomb), *["--colour", "RGB", "--mean", "127.5", "--std", "127.5"]])
    assert code == 2 and "ONNX Runtime cannot load" in capsys.readouterr().err


def test_a_child_that_is_ended_is_one_sentence(cache_folder, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ValueError, match="no reason given"):
        trial.require_tried("embedder", b"", "0" * 64)
    run = subprocess.run
    killed = ["/bin/sh", "-c", "kill -11 $$"]
    monkeypatch.setattr(subprocess, "run", lambda command, **options: run(killed, **options))
    with pytest.raises(ValueError, match="ended the process that tried it with signal 11"):
        trial.require_tried("embedder", b"", "0" * 64)


def test_what_passed_is_not_tried_again(exported, cache_folder, monkeypatch):
    path = str(exported[1].path)
    load_engine(path)
    [note] = (cache.cache_dir() / "tried").iterdir()
    assert hashlib.sha256(exported[1].path.read_bytes()).hexdigest() in note.name

    def never(*args, **options):
        raise AssertionError("tried again")

    monkeypatch.setattr(subprocess, "run", never)
    assert load_engine(path).card.dim == 32
