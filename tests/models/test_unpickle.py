"""Reading tensors from hostile and foreign checkpoints: nothing in them runs."""

import argparse
import collections
import os
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from faceverify.models import unpickle


class Foreign:
    """An object of a training framework."""

    def __init__(self, value):
        self.value = value


class ForeignDict(dict):
    """A dict subclass, as Lightning saves its hyper-parameters."""


class Runs:
    """Runs a command when it is unpickled the ordinary way."""

    def __init__(self, marker: Path):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def lightning_like(extra: object = None) -> dict:
    tensors = collections.OrderedDict(
        {
            "model.a": torch.arange(6.0).reshape(2, 3).T,  # not contiguous
            "model.half": torch.ones(2, dtype=torch.float16),
            "model.count": torch.tensor(7),
            "model.parameter": torch.nn.Parameter(torch.full((2,), 3.0)),
            "model.empty": torch.zeros(0, 3),
        }
    )
    tensors._metadata = {"": {"version": 1}}
    hyper = ForeignDict(lr=0.1, net=argparse.Namespace(arch="ir_50", items={Foreign(1)}))
    return {"epoch": 3, "state_dict": tensors, "hyper_parameters": hyper, "callbacks": [Foreign(2), extra]}


@pytest.fixture(params=[True, False], ids=["zip", "legacy"])
def save(request, tmp_path):
    def write(content) -> Path:
        path = tmp_path / "file.ckpt"
        torch.save(content, path, _use_new_zipfile_serialization=request.param)
        return path

    return write


def test_tensors_come_out_and_objects_stay_behind(save):
    content = lightning_like()
    found = unpickle.read(save(content))
    assert found.keys() == content["state_dict"].keys()
    for key, value in content["state_dict"].items():
        assert found[key].dtype == value.dtype
        assert torch.equal(found[key], value)


def test_a_hostile_checkpoint_does_nothing(save, tmp_path):
    marker = tmp_path / "ran"
    path = save(lightning_like(extra=Runs(marker)))
    assert len(unpickle.read(path)) == 5
    assert not marker.exists()
    torch.load(path, weights_only=False)  # the file is hostile indeed: the ordinary way runs the command
    assert marker.exists()


@pytest.mark.parametrize(
    "payload",
    [
        b"cposix\nsystem\n(S'touch MARKER'\ntR.",
        b'c__builtin__\neval\n(S\'__import__("os").system("touch MARKER")\'\ntR.',
        b"(S'touch MARKER'\nios\nsystem\n.",
        b"c__builtin__\ngetattr\n(cos\nsystem\nS'__call__'\ntR(S'touch MARKER'\ntR.",
        b"ctorch.serialization\nload\n(S'MARKER'\ntR.",
        # sets attributes of an allowed function, of an allowed class and of a placeholder class
        b"ctorch._utils\n_rebuild_tensor_v2\n(NdS'__call__'\ncos\nsystem\nstb.",
        b"ccollections\nOrderedDict\n(NdS'__init__'\ncos\nsystem\nstb.",
        b"cos\nsystem\n(NdS'__init__'\ncos\nsystem\nstb.",
    ],
)
def test_opcodes_that_call_or_alter_are_inert(payload, tmp_path):
    marker = tmp_path / "ran"
    path = tmp_path / "bad.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", payload.replace(b"MARKER", str(marker).encode()))
    with pytest.raises(unpickle.Refused):
        unpickle.read(path)
    assert not marker.exists()


def test_a_tensor_larger_than_its_storage_is_refused(tmp_path):
    class Huge:
        def __reduce__(self):
            storage = torch.zeros(1).untyped_storage()
            typed = torch.storage.TypedStorage(wrap_storage=storage, dtype=torch.float32, _internal=True)
            return torch._utils._rebuild_tensor_v2, (typed, 0, (1 << 40,), (0,), False, {})

    path = tmp_path / "huge.pt"
    torch.save({"a": Huge()}, path)
    with pytest.raises(unpickle.Refused, match="storage of 1"):
        unpickle.read(path)


def test_a_compressed_bomb_is_refused(tmp_path):
    path = tmp_path / "bomb.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", pickle.dumps({}))
        archive.writestr("x/data/0", bytes(10_000_000))
    with pytest.raises(unpickle.Refused, match="zip"):
        unpickle.read(path)


def test_cut_files_are_refused(save):
    path = save({"a": torch.zeros(1000), "b": torch.ones(1000)})
    whole = path.read_bytes()
    for size in (0, 1, 100, len(whole) // 2, len(whole) - 8):
        path.write_bytes(whole[:size])
        with pytest.raises(unpickle.Refused):
            unpickle.read(path)


def test_a_legacy_storage_of_another_size_is_refused(tmp_path):
    path = tmp_path / "old.pt"
    torch.save({"a": torch.zeros(4)}, path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    path.write_bytes(whole[:-24] + struct.pack("<q", 5) + whole[-16:])
    with pytest.raises(unpickle.Refused):
        unpickle.read(path)


def test_other_pickles_are_refused(tmp_path):
    path = tmp_path / "list.pkl"
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(unpickle.Refused):
        unpickle.read(path)
