"""Small files that ask for gigabytes, hours or the process: each is refused with a sentence, within bounds.

All are read by one process with a limit on its memory (`tests/hostile/limited.py`), which says how each came out.
"""

import io
import json
import math
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from onnx import TensorProto, helper

from faceverify import images
from faceverify.datasets import DatasetConfig, InsightfaceBinConfig, read
from faceverify.storage import open_location

SCRIPT = Path(__file__).parents[1] / "hostile" / "limited.py"
ROOM = 400 << 20  # bytes beside a small multiple of the file's size
SECONDS = 120  # for each; they take some seconds at most where nothing else runs


def zipped(pickled: bytes, storages: dict[str, bytes] | None = None, method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("x/data.pkl", pickled)
        for name, content in (storages or {}).items():
            archive.writestr(f"x/data/{name}", content)
    return stream.getvalue()


def storage(key: bytes, count: int) -> bytes:
    """Operations that push a storage of floats."""
    kind = b"ctorch\nFloatStorage\n"
    return b"(X\x07\0\0\0storage" + kind + key + b"X\x03\0\0\0cpuJ" + struct.pack("<i", count) + b"tQ"


REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"


def tensor(key: bytes, count: int, sides: bytes = b"") -> bytes:
    """Operations that push a tensor over all of a storage."""
    number = b"J" + struct.pack("<i", count)
    return REBUILD + b"(" + storage(key, count) + b"K\0" + (sides or number + b"\x85") + b"K\1\x85\x89NtR"


def named(name: str) -> bytes:
    return b"X" + struct.pack("<I", len(name)) + name.encode()


def only(value: bytes) -> bytes:
    """A pickle of {"a": value}."""
    return b"\x80\2}" + named("a") + value + b"s."


def many(count: int, numbers: int, dots: str = "") -> bytes:
    """A pickle of as many tensors over one storage, which it recalls each time."""
    number = b"J" + struct.pack("<i", numbers)
    arguments = b"(" + storage(named("0"), numbers) + b"K\0" + number + b"\x85K\1\x85\x89Ntq\2"
    rest = b"".join(named(f"t{dots}{i}") + b"h\1h\2R" for i in range(1, count))
    return b"\x80\2}(" + named("t0") + REBUILD + b"q\1" + arguments + b"R" + rest + b"u."


def places(count: int) -> bytes:
    """A pickle of dictionaries that hold the same ones in turn: count ** 4 ways lead to the last."""
    layer = [{"last": {}}]
    for _ in range(4):
        layer = [{str(number): one for number, one in enumerate(layer)} for _ in range(count)]
    return pickle.dumps(layer[0], 2)


def legacy(content: bytes, keys: bytes, behind: bytes) -> bytes:
    head = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    return head + content + keys + behind


DOUBLED = b"N" + b"2\x86" * 60
NESTED = b"N" + b"\x85" * 200_000
ONE_LIST = b"\x80\2](" + (named("k") + b"N\x86") * 3000 + b"eq\0"
PICKLES = {
    "memo_index": b"\x80\2Nr\0\0\0\x10.",
    "memo_text": b"\x80\2Np99999999999999\n.",
    "nested_key": b"\x80\2}" + NESTED + b"Ns.",
    "nested_state": b"\x80\2ccollections\nOrderedDict\n)R" + NESTED + b"b.",
    "doubled_key": b"\x80\2}" + DOUBLED + b"Ns.",
    "doubled_set": b"\x80\4\x8f(" + DOUBLED + b"\x90.",
    "doubled_storage_key": only(tensor(DOUBLED, 4)),
    "doubled_size": only(tensor(named("0"), 4, sides=DOUBLED)),
    "many_dimensions": only(tensor(named("0"), 4, sides=b"(" + b"K\1" * 100_000 + b"t")),
    "long_number": b"\x80\2\x8b\xff\xff\xff\x7f\0\0.",
    "long_text": b"\x80\2X\xff\xff\xff\xff.",
    "long_bytes": b"\x80\4\x8e" + b"\xff" * 7 + b"\x7f.",
    "many_lists": b"\x80\2" + b"]" * 1_200_000 + b".",
    "dictionaries_of_one_list": ONE_LIST + b"ccollections\nOrderedDict\nq\1" + b"h\1h\0\x85R0" * 3000 + b".",
    "many_places": places(120),
    "many_names": many(20_000, 4, "." * 18),
    "colliding_keys": b"\x80\2}("
    + b"".join(b"\x8a\x0f" + (i * (2**61 - 1)).to_bytes(15, "little") + b"N" for i in range(60_000))
    + b"u.",
}


def bombs() -> dict[str, bytes]:
    every = (torch_bombs, legacy_bombs, safetensors_bombs, card_bombs, bin_bombs, onnx_bombs, keras_bombs)
    return {name: content for made in every for name, content in made().items()}


def torch_bombs() -> dict[str, bytes]:
    files = {f"{name}.pt": zipped(content, {"0": bytes(16)}) for name, content in PICKLES.items()}
    large = only(tensor(named("0"), 1 << 22))
    for name, method in (("deflated", zipfile.ZIP_DEFLATED), ("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):
        files[f"{name}.pt"] = zipped(large, {"0": bytes(1 << 24)}, method)
        files[f"{name}_pickle.pt"] = zipped(b"\x80\2" + b"N0" * (1 << 22) + b".", method=method)
    whole = zipped(only(tensor(named("0"), 4)), {"0": bytes(16)})
    files["said_to_be_larger.pt"] = whole.replace(struct.pack("<II", 16, 16), struct.pack("<II", 1 << 31, 1 << 31))
    files["said_to_be_elsewhere.pt"] = _central(whole, -1, 42, struct.pack("<I", len(whole) + 100))
    files["upon_another.pt"] = _central(whole, -1, 42, struct.pack("<I", 0))
    files["shared.ckpt"] = zipped(many(300, 1 << 20), {"0": bytes(4 << 20)})
    return files


def legacy_bombs() -> dict[str, bytes]:
    key = named("0")
    large, small = only(tensor(key, 1 << 28)), only(tensor(key, 4))
    one, twice = b"\x80\2]" + key + b"a.", b"\x80\2](" + key * 2 + b"e."
    files = {f"legacy_{name}.pt": PICKLES[name] for name in ("memo_index", "doubled_key", "nested_key")}
    return files | {
        "legacy_promise.pt": legacy(large, one, struct.pack("<q", 1 << 28)),
        "legacy_no_keys.pt": legacy(large, b"\x80\2].", b""),
        "legacy_twice.pt": legacy(small, twice, struct.pack("<q", 4) + bytes(16)),
    }


def _central(whole: bytes, which: int, offset: int, new: bytes) -> bytes:
    """The zip file with something changed in one of the entries of its directory."""
    places = [at for at in range(len(whole)) if whole.startswith(b"PK\1\2", at)]
    at = places[which] + offset
    return whole[:at] + new + whole[at + len(new) :]


def safetensors_bombs() -> dict[str, bytes]:
    def file(header: dict, content: bytes = b"") -> bytes:
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + content

    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    empty = one | {"shape": [0], "data_offsets": [0, 0]}
    return {
        "header_length.safetensors": struct.pack("<Q", 1 << 60) + b"{}",
        "empty_tensors.safetensors": file({f"t{i}": empty for i in range(80_000)}),
        "overlapping.safetensors": file({"a": one, "b": one}, bytes(16)),
        "beyond.safetensors": file({"a": one | {"shape": [1 << 40], "data_offsets": [0, 1 << 42]}}, bytes(16)),
        "nested.safetensors": struct.pack("<Q", 1 << 20) + b'{"a":' + b"[" * ((1 << 20) - 5),
    }


def card_bombs() -> dict[str, bytes]:
    return {
        "nested.json": b"[" * 500_000,
        "many_fields.json": json.dumps({f"field {i}": i for i in range(40_000)}).encode(),
        "long_name.json": json.dumps({"x" * 900_000: 1}).encode(),
        "huge.json": b" " * (2 << 20) + b"{}",
    }


MAKE_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\0\x85C\1btR"
BYTES = b"cnumpy\ndtype\n(X\2\0\0\0u1\x89\x88tR"


def arrays_over_one(shapes: list[tuple[int, int, int]]) -> bytes:
    """A set of photos that all are arrays over the same bytes."""
    content = np.random.default_rng(0).integers(0, 256, math.prod(shapes[0]), dtype=np.uint8).tobytes()
    head = b"\x80\4B" + struct.pack("<I", len(content)) + content + b"q\0" + BYTES + b"q\x0100]("
    sides = [b"".join(b"J" + struct.pack("<i", side) for side in shape) for shape in shapes]
    photos = b"".join(MAKE_ARRAY + b"(K\1" + three + b"\x87h\1\x89h\0tb" for three in sides)
    return head + photos + b"e](" + b"\x88" * (len(shapes) // 2) + b"e\x86."


def bin_bombs() -> dict[str, bytes]:
    no_columns = MAKE_ARRAY + b"(K\1J" + struct.pack("<i", 2_000_000_000) + b"K\0\x86" + BYTES + b"\x89C\0tb"
    return {
        "nested.bin": b"\x80\4" + NESTED + b".",
        "doubled.bin": b"\x80\4](" + DOUBLED + b"Ne]\x88a\x86.",
        "lists_of_lists.bin": b"\x80\4](" + b"N" * 10_000 + b"eq\0](" + b"h\0" * 20_000 + b"e.",
        "array_of_no_columns.bin": b"\x80\4" + no_columns + b"]\x88a\x86.",
        "arrays_over_one.bin": arrays_over_one([(600 * n, 600 // n, 3) for n in (1, 2, 3, 4, 5, 6, 8, 10)]),
    }


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(([images.encode_png(np.full((60, 60, 3), 9, np.uint8))] * 400, [True] * 200), 4),
        arrays_over_one([(60, 60, 3)] * 400),
    ],
    ids=["bytes", "arrays"],
)
def test_a_photo_named_often_is_written_once(content, tmp_path):
    (tmp_path / "set.bin").write_bytes(content)
    config = DatasetConfig(layout="insightface_bin", insightface_bin=InsightfaceBinConfig(out=str(tmp_path / "out")))
    listing = read(open_location(str(tmp_path / "set.bin")), config)
    [written] = (tmp_path / "out").iterdir()
    assert images.decode(written.read_bytes()).shape == (60, 60, 3)
    assert listing.photos["photo"].to_pylist() == ["000000_0.png"]
    assert listing.pairs is not None and len(listing.pairs) == 200
    assert set(listing.pairs["photo_b"].to_pylist()) == {"000000_0.png"}


def onnx_bombs() -> dict[str, bytes]:
    def graph(*tensors: TensorProto, nodes: tuple = ()) -> bytes:
        return helper.make_model(helper.make_graph(list(nodes), "g", [], [], list(tensors))).SerializeToString()

    promised = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 18], raw_data=b"1234")
    negative = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[-1, -1], raw_data=b"1234")
    outside = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    entry = outside.external_data.add()
    entry.key, entry.value = "location", "../../../etc/passwd"
    inside = helper.make_node("Constant", [], ["c"], value=outside)
    deep = b""
    for _ in range(90):
        attribute = _field(6, deep)
        deep = _field(1, _field(5, attribute))
    return {
        "promised.onnx": graph(promised),
        "negative.onnx": graph(negative),
        "outside.onnx": graph(outside),
        "outside_in_a_node.onnx": graph(nodes=(inside,)),
        "empty_nodes.onnx": _field(7, b"\n\0" * 2_000_000),
        "deep.onnx": _field(7, deep),
        "cut.onnx": b"\x3a\xff\xff\xff\x7f",
    }


def keras_bombs() -> dict[str, bytes]:
    """Files of one layer that lies elsewhere, is promised, packed or damaged; names and descriptions without end."""

    def file(
        put: Callable[[h5py.Group], object], described: object = "{}", libver: str = "latest", **names: object
    ) -> bytes:
        stream = io.BytesIO()
        with h5py.File(stream, "w", libver=libver) as whole:  # the latest has attributes of any size
            whole.attrs["model_config"], whole.attrs["keras_version"] = described, "2.15.0"
            weights = whole.create_group("model_weights")
            weights.attrs["layer_names"] = names.get("layer_names", [b"a"])
            layer = weights.create_group("a")
            layer.attrs["weight_names"] = names.get("weight_names", [b"kernel:0"])
            put(layer)
        return stream.getvalue()

    def array(layer: h5py.Group, **options: Any) -> None:
        layer.create_dataset("kernel:0", data=np.arange(4096, dtype=np.float32), **options)

    def linked(target: object) -> Callable[[h5py.Group], None]:
        return lambda layer: layer.__setitem__("kernel:0", target)

    def virtual(layer: h5py.Group) -> None:
        layout = h5py.VirtualLayout((4,), np.float32)
        layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
        layer.create_virtual_dataset("kernel:0", layout)

    def huge(layer: h5py.Group) -> None:
        layer.create_dataset("kernel:0", (1 << 20, 1 << 20), np.float32, chunks=(1, 1024))  # no number is in the file

    layers = [{"class_name": "Add", "name": "a", "config": {}, "inbound_nodes": [[["a", 0, 0, {}]]]}]
    loop = json.dumps({"config": {"layers": layers, "output_layers": [["a", 0, 0]]}})
    passing = [layers[0] | {"class_name": "Flatten"}]
    whole = file(array, loop, libver="earliest")  # this has no checksums
    rng = np.random.default_rng(0)
    changed = {}
    for number in range(6):
        content = bytearray(whole)
        for at in rng.integers(8, len(whole) - 4 * 4096, 20):
            content[at] = int(rng.integers(256))
        changed[f"changed_{number}.h5"] = bytes(content)
    return changed | {
        "external_link.h5": file(linked(h5py.ExternalLink("/etc/passwd", "/x"))),
        "soft_link.h5": file(linked(h5py.SoftLink("/model_weights/a"))),
        "external_storage.h5": file(lambda layer: layer.create_dataset("kernel:0", (4,), "f4", external="/etc/passwd")),
        "virtual.h5": file(virtual),
        "promised.h5": file(huge),
        "packed.h5": file(partial(array, compression="gzip")),
        "group.h5": file(lambda layer: layer.create_group("kernel:0")),
        "whole_numbers.h5": file(lambda layer: layer.create_dataset("kernel:0", data=np.arange(4))),
        "many_names.h5": file(array, weight_names=[f"n{i}".encode() for i in range(6000)]),
        "twice.h5": file(array, weight_names=[b"kernel:0", b"kernel:0"]),
        "numbers_for_names.h5": file(array, layer_names=[1, 2]),
        "nested.h5": file(array, "[" * 500_000),
        "long_description.h5": file(array, " " * (9 << 20)),
        "description_of_numbers.h5": file(array, 3),
        "loop.h5": whole,
        "loop_of_flatten.h5": file(array, loop.replace(json.dumps(layers), json.dumps(passing))),
        "cut.h5": whole[: len(whole) // 3],
        "junk.h5": b"\x89HDF\r\n\x1a\n" + bytes(5000),
        "empty.h5": b"",
    }


def _field(number: int, content: bytes) -> bytes:
    """A field of a protocol buffer."""
    size, length = b"", len(content)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    folder = tmp_path_factory.mktemp("hostile")
    sizes = {}
    for name, content in bombs().items():
        (folder / name).write_bytes(content)
        sizes[name] = len(content)
    root = Path(__file__).parents[2]
    command = [sys.executable, str(SCRIPT), str(folder)]
    env = {"PYTHONPATH": str(root)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=env, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: [*found, sizes[name]] for name, found in json.loads(done.stdout).items()}


# Nothing is wrong with it but the work of looking for a network in it.
LARGE = {"many_names.pt"}


def test_every_hostile_file_is_refused_with_a_sentence(outcomes):
    assert len(outcomes) == len(bombs())
    assert {name for name, (said, *_) in outcomes.items() if said == "read"} == LARGE
    for name, (said, *_) in outcomes.items():
        assert "\n" not in said and len(said) < 2000, name


def test_none_takes_more_than_a_small_multiple_of_its_size(outcomes):
    too_much = {name: grown for name, (_, _, grown, size) in outcomes.items() if grown > ROOM + 6 * size}
    assert not too_much
    assert not {name: seconds for name, (_, seconds, *_) in outcomes.items() if seconds > SECONDS}
