"""The kinds of files that `mutations` changes: small ones of real form, and what the jobs read them with."""

import io
import json
import pickle
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import safetensors.torch
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import Tensor, nn

from benchmarks.mutations import Kind
from faceverify import images
from faceverify.datasets import DatasetConfig, InsightfaceBinConfig, PairListConfig, insightface_bin, kryptonite
from faceverify.datasets.pair_lists import open_pairs
from faceverify.models import card, onnx_file, unpickle, unwrap
from faceverify.models.engine_onnx import open_session
from faceverify.models.safetensors_file import load_safetensors
from faceverify.storage import open_location

DIM, SIDE = 8, 16
PHOTOS = {"JPEG": 0.3, "PNG": 0.2, "WebP": 0.2, "TIFF": 0.2, "BMP": 0.05, "GIF": 0.05}
# A mutated header may announce any size; larger pictures are refused before they cost memory or minutes.
PHOTO_LIMITS = images.ImageLimits(max_pixels=1 << 22)


def kinds() -> dict[str, Kind]:
    """All kinds by name."""
    torch.set_num_threads(1)
    contents = [_network(), {"model": {f"module.{k}": v for k, v in _network().items()}, "epoch": 3}]
    new, old = ([_torch_file(content, is_new) for content in contents] for is_new in (True, False))
    return {
        **{name: Kind(share, _photos(name), _read_photo) for name, share in PHOTOS.items()},
        ".pt": Kind(0.1, new, _read_checkpoint),
        ".pt, its pickle": Kind(0.14, [_pickle_of(file) for file in new], _read_checkpoint, _zipped),
        ".pt, legacy": Kind(0.1, old, _read_checkpoint),
        ".bin": Kind(0.14, _bins(), _read_bin),
        ".safetensors": Kind(0.14, [safetensors.torch.save(_network())], _read_safetensors),
        ".onnx": Kind(0.14, [_graph().SerializeToString()], _read_graph),
        "model card": Kind(0.1, [_card().to_json().encode()], _read_card),
        "meta.json": Kind(0.05, [json.dumps({"ann/0.jpg": 0, "ann/1.jpg": 1, "bob/0.jpg": 0}).encode()], _read_meta),
        "pairs.csv": Kind(0.05, [_pairs_csv()], lambda data, folder: _read_pairs(data, folder / "pairs.csv")),
        "pairs.txt": Kind(0.04, [_pairs_txt()], lambda data, folder: _read_pairs(data, folder / "pairs.txt")),
    }


def _photos(name: str) -> list[bytes]:
    """Small photos in one format: what cameras and programs make of it, and what decoders have separate code for."""
    y, x = np.mgrid[0:24, 0:32]
    grain = np.random.default_rng(0).normal(0, 6, (24, 32, 3))
    smooth = np.stack([8 * x, 10 * y, 128 + 90 * np.sin(x / 9) * np.cos(y / 7)], axis=-1)
    photo = Image.fromarray(np.clip(smooth + grain, 0, 255).astype(np.uint8))
    turned = Image.Exif()
    turned[0x112] = 6
    ways: dict[str, list[tuple[Image.Image, dict[str, object]]]] = {
        "JPEG": [
            (photo, {}),
            (photo, {"progressive": True}),
            (photo.convert("CMYK"), {}),
            (photo, {"exif": turned, "restart_marker_blocks": 2}),
        ],
        "PNG": [(photo, {}), (photo.quantize(16), {}), (photo.convert("LA"), {}), (photo, {"exif": turned})],
        "WebP": [(photo, {}), (photo, {"lossless": True}), (photo.convert("RGBA"), {"exif": turned})],
        "TIFF": [
            (photo, {}),
            (photo, {"compression": "tiff_lzw"}),
            (photo, {"compression": "tiff_adobe_deflate"}),
            (photo, {"compression": "jpeg"}),
            (photo.convert("1"), {"compression": "group4"}),
            (photo, {"big_tiff": True, "exif": turned}),
        ],
        "BMP": [(photo, {}), (photo.quantize(16), {})],
        "GIF": [(photo.quantize(16), {})],
    }
    files = []
    for picture, options in ways[name]:
        stream = io.BytesIO()
        picture.save(stream, name, **options)
        files.append(stream.getvalue())
    return files


def _read_photo(data: bytes, _: Path) -> None:
    images.decode(data, PHOTO_LIMITS)


@cache
def _network() -> dict[str, Tensor]:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Linear(4, DIM, bias=False))
    return layers.state_dict()


def _torch_file(content: object, is_new: bool) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=is_new)
    return stream.getvalue()


def _pickle_of(file: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        return archive.read("archive/data.pkl")


def _zipped(pickled: bytes) -> bytes:
    """A checkpoint with this pickle and the storages of the network: the checksums of the file are right."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for number, tensor in enumerate(_network().values()):
            archive.writestr(f"archive/data/{number}", tensor.numpy().tobytes())
    return stream.getvalue()


def _fit(content: object) -> None:
    want = {name: tuple(value.shape) for name, value in _network().items()}
    unwrap.as_floats(unwrap.fit(content, want, DIM))


def _read_checkpoint(data: bytes, _: Path) -> None:
    _fit(unpickle.read_bytes(data).content)


def _read_safetensors(data: bytes, _: Path) -> None:
    _fit(load_safetensors(data))


def _bins() -> list[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    encoded = images.encode_png(pixels)
    photos = [encoded, np.frombuffer(encoded, np.uint8)[:, None], pixels, pixels[..., 0].copy()]
    return [pickle.dumps((photos, [True, False]), protocol) for protocol in (2, 4)]


def _read_bin(data: bytes, folder: Path) -> None:
    (folder / "set.bin").write_bytes(data)
    config = DatasetConfig(layout="insightface_bin", insightface_bin=InsightfaceBinConfig(out=str(folder / "out")))
    insightface_bin.read(open_location(str(folder / "set.bin")), config)


def _graph() -> onnx.ModelProto:
    rng = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(rng.standard_normal(shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Sub", ["input", "mean"], ["centred"]),
        helper.make_node("Conv", ["centred", "w", "b"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c", "scale", "b", "b", "scale"], ["n"], epsilon=1e-5),
        helper.make_node("PRelu", ["n", "slope"], ["p"]),
        helper.make_node("Add", ["p", "n"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Reshape", ["pooled", "shape"], ["flat"]),
        helper.make_node("Gemm", ["flat", "last"], ["embedding"], transB=1),
        helper.make_node("ReduceL2", ["embedding", "axes"], ["norm"], keepdims=1),
    ]
    tensors = [constant("mean", 1, 3, 1, 1), constant("w", 4, 3, 3, 3), constant("b", 4), constant("slope", 4, 1, 1)]
    tensors += [numpy_helper.from_array(np.ones(4, np.float32), "scale"), constant("last", DIM, 4)]
    tensors += [numpy_helper.from_array(np.array([0, -1], np.int64), "shape")]
    tensors += [numpy_helper.from_array(np.array([1], np.int64), "axes")]
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", 3, SIDE, SIDE])],
        [_output("embedding", DIM), _output("norm", 1)],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, {card.METADATA_KEY: _card().to_json()})
    return model


def _output(name: str, numbers: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", numbers])


def _read_graph(data: bytes, _: Path) -> None:
    """What the child of `faceverify.models.trial_child` does: its exceptions are sentences."""
    model = onnx_file.parse(data)
    try:
        session = open_session(model, 1, [("CPUExecutionProvider", {})], True)
        [one] = session.get_inputs()
        session.run(None, {one.name: np.random.default_rng(0).random((2, 3, SIDE, SIDE), np.float32)})
    except Exception as error:
        raise ValueError(str(error)) from None


def _card() -> card.ModelCard:
    half = (127.5, 127.5, 127.5)
    return card.ModelCard(name="small", architecture="tiny", colour="RGB", mean=half, std=half, dim=DIM)


def _read_card(data: bytes, _: Path) -> None:
    card.check_scale(card.parse(data, "given"), "given")


def _read_meta(data: bytes, folder: Path) -> None:
    for name in ("ann/0.jpg", "ann/1.jpg", "bob/0.jpg"):
        photo = folder / "images" / name
        if not photo.exists():
            photo.parent.mkdir(parents=True, exist_ok=True)
            photo.write_bytes(b"x")
    (folder / "meta.json").write_bytes(data)
    kryptonite.read(open_location(str(folder)), DatasetConfig(layout="kryptonite"))


def _pairs_csv() -> bytes:
    rows = [f"{n},ann/{n}.jpg,bob/{n}.jpg,{n % 2},{'genuine' if n % 2 else 'impostor'},true" for n in range(20)]
    return "\n".join(["pair,photo_a,photo_b,label,kind,mine", *rows, ""]).encode()


def _pairs_txt() -> bytes:
    genuine = [f"Ann_Lee\t{n}\t{n + 1}" for n in range(1, 9)]
    impostor = [f"Ann_Lee\t{n}\tBob_Ray\t{n}" for n in range(1, 9)]
    return "\n".join(["8", *genuine, *impostor, ""]).encode()


def _read_pairs(data: bytes, file: Path) -> None:
    file.write_bytes(data)
    for _ in open_pairs(open_location(str(file)), PairListConfig()):
        pass
