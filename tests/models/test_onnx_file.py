"""ONNX files that keep tensors in files beside them: the same network, one SHA-256 over all, nothing from elsewhere."""

import hashlib
import shutil

import numpy as np
import onnx
import pytest

from faceverify.errors import PlatformError, UserError
from faceverify.models import EngineConfig, files, load_engine, onnx_file
from faceverify.storage import open_location

CPU = EngineConfig(provider="cpu", threads=1)


@pytest.fixture(params=["one file", "a file per tensor"])
def split(request, exported, tmp_path):
    """The exported network with its tensors outside, as `onnx` writes it; and the file with all inside."""
    path = tmp_path / "model.onnx"
    onnx.save_model(
        onnx.load(exported[1].path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=request.param == "one file",
        location="model.onnx.data" if request.param == "one file" else None,
        size_threshold=64,
    )
    return path, exported[1].path


def test_it_is_the_same_network(split, faces, cache_folder):
    path, inside = split
    assert len(onnx_file.data_files(path)) >= 1 and onnx_file.data_files(inside) == []
    assert path.stat().st_size < inside.stat().st_size
    np.testing.assert_array_equal(load_engine(str(path), CPU).embed(faces), load_engine(str(inside), CPU).embed(faces))


def test_the_sum_is_of_all_files(split):
    path, _ = split
    every = [path, *sorted(one for one in path.parent.iterdir() if one != path)]
    together = hashlib.sha256(b"".join(one.read_bytes() for one in every)).hexdigest()
    assert files.sha256_of(path) == together == files.card_of(path).sha256
    with every[-1].open("r+b") as stream:
        stream.write(b"\x00\x00\x00\x3f")
    assert files.card_of(path).sha256 != together


def test_it_comes_whole_from_object_storage(split, bucket, faces, cache_folder):
    path, _ = split
    for one in path.parent.iterdir():
        if one.is_file():
            open_location(f"s3://{bucket}/split/{one.name}").write_bytes(one.read_bytes())
    remote = load_engine(f"s3://{bucket}/split/model.onnx", CPU)
    assert remote.card.digest == files.card_of(path).digest
    np.testing.assert_array_equal(remote.embed(faces), load_engine(str(path), CPU).embed(faces))
    name = onnx_file.data_files(path)[0].name
    shutil.copyfile(path, path.with_name("alone.onnx"))
    open_location(f"s3://{bucket}/alone/alone.onnx").write_bytes(path.read_bytes())
    with pytest.raises(PlatformError, match=f"alone/{name}"):
        load_engine(f"s3://{bucket}/alone/alone.onnx")


def change(path, **entries):
    """Say otherwise where the first tensor that lies outside lies; None takes the entry away."""
    model = onnx.load(path, load_external_data=False)
    tensor = next(one for one in model.graph.initializer if one.external_data)
    said = {entry.key: entry.value for entry in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in said.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    onnx.save(model, path)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"location": "../secret"}, "not in one beside it"),
        ({"location": "/etc/passwd"}, "not in one beside it"),
        ({"location": ".."}, "not in one beside it"),
        ({"location": None}, "not in one beside it"),
        ({"location": "gone.data"}, "'gone.data', and there is no such file beside it"),
        ({"offset": -4}, "takes more of"),
        ({"offset": 1 << 40}, "takes more of"),
        ({"length": 1 << 40}, "takes more of"),
        ({"offset": "x"}, "lies at no place"),
        ({"offset": 0, "length": 4}, "promises .* numbers and holds 1"),
    ],
)
def test_what_lies_elsewhere_or_is_cut_off_is_refused(entries, said, split):
    path, _ = split
    (path.parent.parent / "secret").write_bytes(bytes(1 << 20))
    change(path, **entries)
    with pytest.raises(UserError, match=said):
        onnx_file.read(path)


def test_tensors_together_take_no_more_than_there_is(split):
    """Else a small file could be put in many times."""
    path, _ = split
    model = onnx.load(path, load_external_data=False)
    outside = [one for one in model.graph.initializer if one.external_data]
    model.graph.initializer.extend([outside[0]] * 100)
    onnx.save(model, path)
    with pytest.raises(UserError, match="takes more of"):
        onnx_file.read(path)


def test_without_a_folder_nothing_is_looked_for(split):
    with pytest.raises(ValueError, match="not in one beside it"):
        onnx_file.parse(split[0].read_bytes())
