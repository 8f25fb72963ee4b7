"""`fakes` costs little beside a swapper's network: fakes per second of the job and of a plain script, on one graph.

The script does what swapping programs do: read and decode both photos, cut and embed the person's face, run the network
on the host's crop, warp back, mask and blend over the whole photo as insightface does, encode and write the picture;
one process per core, each with a thread. It chooses no hosts, writes no table, checks nothing and cannot resume. Both
make the same number of fakes from the same rendered people. Start-up is left out on both sides.

The networks are stand-ins of inswapper's form, since published weights come from the user: the small one costs less
than the work around it, and the larger one is still a small part of inswapper. Also measured: faces handed over one and
eight at a time, and a worker's memory after few and after many fakes.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
import pyarrow.parquet as pq
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from benchmarks.align_busy import NICENESS
from benchmarks.harness import CORES, ROOT, Report, Spread, parser, run_job, seconds_of
from benchmarks.memory import field
from faceverify.align.geometry import fit_similarity
from faceverify.fakes import GENERATORS, FaceInput, Generator, Request, build
from faceverify.fakes.weights import located
from faceverify.images import decode, encode_png
from faceverify.models import card
from faceverify.models.export import export_onnx
from faceverify.models.iresnet import iresnet
from faceverify.rendered import RenderedConfig, write
from faceverify.storage import Location
from ray_jobs.engine.resources import limit_threads

STAND_IN = ROOT / "tests" / "golden" / "generators" / "inswapper_standin.onnx"
PER_PERSON = 8
PEOPLE_PER_SHARD = 2
Task = tuple[str, np.ndarray, str, np.ndarray]  # the person's photo and landmarks, the host's


def larger() -> ModelProto:
    """Six convolutions of 96 channels at 64x64: 2 billion multiplications."""
    rng = np.random.default_rng(0)
    width, count = 96, 6
    constants = {"first": rng.normal(0, 0.2, (width, 3, 3, 3)), "who": rng.normal(0, 0.05, (512, width))}
    constants |= {f"w{at}": rng.normal(0, 1.4 / np.sqrt(9 * width), (width, width, 3, 3)) for at in range(count)}
    constants |= {"last": rng.normal(0, 0.05, (width, 3, 4, 4)), "buff2fs": rng.normal(0, 1, (512, 512))}
    nodes = [
        helper.make_node("Conv", ["target", "first"], ["x"], kernel_shape=[3, 3], pads=[1] * 4, strides=[2, 2]),
        helper.make_node("MatMul", ["source", "who"], ["v"]),
        helper.make_node("Reshape", ["v", "sides"], ["shaped"]),
        helper.make_node("Add", ["x", "shaped"], ["h0"]),
    ]
    for at in range(count):
        nodes.append(helper.make_node("Conv", [f"h{at}", f"w{at}"], [f"c{at}"], kernel_shape=[3, 3], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{at}"], [f"h{at + 1}"]))
    shape = {"kernel_shape": [4, 4], "pads": [1] * 4, "strides": [2, 2]}
    nodes.append(helper.make_node("ConvTranspose", [f"h{count}", "last"], ["y"], **shape))
    nodes.append(helper.make_node("Sigmoid", ["y"], ["output"]))
    sides = {"target": [1, 3, 128, 128], "source": [1, 512], "output": [1, 3, 128, 128]}
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sides.items()}
    tensors = [numpy_helper.from_array(np.array([1, width, 1, 1], np.int64), "sides")]
    tensors += [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "larger", [values["target"], values["source"]], [values["output"]], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def fill_cache(home: Path, network: str) -> None:
    """A cache with a stand-in of inswapper, and a recogniser of 512 numbers."""
    places = [home / "models" / name / f"{name}.onnx" for name in ("inswapper_128", "w600k_r50")]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
    if network == "small":
        shutil.copyfile(STAND_IN, places[0])
    else:
        places[0].write_bytes(larger().SerializeToString())
    if not places[1].exists():
        torch.manual_seed(0)
        half = [127.5] * 3
        described = card.build(name="stand-in", architecture="tiny", colour="RGB", mean=half, std=half, dim=512)
        export_onnx(iresnet("tiny", 512).eval(), described, places[1])
    os.environ["FACEVERIFY_CACHE"] = str(home)


# -- the script --------------------------------------------------------------------------------------------------------

_OPEN: list[tuple[ort.InferenceSession, ort.InferenceSession, np.ndarray]] = []


def _open(home: Path) -> None:
    os.nice(max(0, NICENESS - os.nice(0)))  # as Ray's workers, also where this program has a low priority itself
    limit_threads(1)
    cv2.setNumThreads(1)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    paths = [str(home / "models" / name / f"{name}.onnx") for name in ("inswapper_128", "w600k_r50")]
    import onnx

    table = numpy_helper.to_array(onnx.load(paths[0]).graph.initializer[-1])
    swapper, recogniser = (ort.InferenceSession(p, options, providers=["CPUExecutionProvider"]) for p in paths)
    _OPEN.append((swapper, recogniser, table))


def _swap(out: Path, numbered: tuple[int, Task]) -> None:
    """One fake, as a plain script makes it."""
    number, (source, landmarks, target, host_landmarks) = numbered
    swapper, recogniser, table = _OPEN[0]
    person, host = (decode(Path(path).read_bytes()) for path in (source, target))
    face = cv2.warpAffine(person, fit_similarity(landmarks[None])[0], (112, 112))
    shown = (face.transpose(2, 0, 1)[None] - np.float32(127.5)) / np.float32(127.5)
    vector = np.asarray(recogniser.run(None, {recogniser.get_inputs()[0].name: shown})[0])
    vector = (vector / np.linalg.norm(vector)) @ table
    vector /= np.linalg.norm(vector)
    matrix = fit_similarity(host_landmarks[None], 128)[0]
    crop = cv2.warpAffine(host, matrix, (128, 128))
    feed = {"target": crop.transpose(2, 0, 1)[None].astype(np.float32) / 255, "source": vector.astype(np.float32)}
    made = np.asarray(swapper.run(None, feed)[0])[0].transpose(1, 2, 0)
    made = np.clip(255 * made, 0, 255).astype(np.uint8)
    back, size = cv2.invertAffineTransform(matrix), host.shape[1::-1]
    made = cv2.warpAffine(made, back, size)
    mask = cv2.warpAffine(np.full((128, 128), 255, np.float32), back, size)
    mask[mask > 20] = 255
    rows, columns = np.where(mask == 255)
    side = int(np.sqrt(np.ptp(rows) * np.ptp(columns)))
    mask = cv2.erode(mask, np.ones((max(side // 10, 10),) * 2, np.uint8))
    mask = cv2.GaussianBlur(mask, (2 * max(side // 20, 5) + 1,) * 2, 0)[..., None] / 255
    blended = (mask * made + (1 - mask) * host).astype(np.uint8)
    (out / f"{number:08d}.png").write_bytes(encode_png(blended))


def loop(home: Path, tasks: list[Task], cores: int) -> float:
    """Fakes per second of the script."""
    with (
        tempfile.TemporaryDirectory() as folder,
        get_context("spawn").Pool(cores, _open, (home,)) as pool,
    ):
        run = partial(pool.map, partial(_swap, Path(folder)), chunksize=PER_PERSON * PEOPLE_PER_SHARD)
        numbered = list(enumerate(tasks))
        run(numbered[: 2 * cores * PER_PERSON * PEOPLE_PER_SHARD])  # every process is there and warm
        start = time.perf_counter()
        run(numbered)
        return len(tasks) / (time.perf_counter() - start)


# -- the job -----------------------------------------------------------------------------------------------------------


def job(photos: Path, cores: int) -> float:
    """Fakes per second of `fakes`, from the times of its pictures after the first shards."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = ["--photos", str(photos), "--generators", "inswapper", "--per-person", str(PER_PERSON)]
        options += ["--people-per-shard", str(PEOPLE_PER_SHARD), "--workers", str(cores)]
        run_job("fakes", out, *options, "--no-recode")  # PNG, as the script writes
        times = sorted(path.stat().st_mtime for path in (out / "pictures").rglob("*.png"))
    warm = 2 * cores * PER_PERSON * PEOPLE_PER_SHARD
    return (len(times) - warm) / (times[-1] - times[warm - 1])


# -- one process -------------------------------------------------------------------------------------------------------


def requests_of(tasks: list[Task]) -> list[Request]:
    """The tasks as the job hands them to a generator; the embedding is drawn."""
    rng, made = np.random.default_rng(0), []
    for source, landmarks, target, host_landmarks in tasks:
        person, host = (decode(Path(path).read_bytes()) for path in (source, target))
        vector = rng.standard_normal(512).astype(np.float32)
        face = FaceInput(person, landmarks, vector / np.linalg.norm(vector))
        made.append(Request((face,), FaceInput(host, host_landmarks), np.random.default_rng(0)))
    return made


def in_batches(generator: Generator, requests: list[Request], batch: int) -> None:
    """Make them, `batch` at a time."""
    for at in range(0, len(requests), batch):
        generator.make(requests[at : at + batch])


def measure(chosen: argparse.Namespace, network: str, home: Path, photos: Path, tasks: list[Task], to: Report) -> None:
    """Fill the rows of one network; the sides take turns."""
    fill_cache(home, network)
    rates: dict[str, list[float]] = defaultdict(list)
    for _ in range(chosen.repeats):
        rates["plain script"].append(loop(home, tasks, chosen.cores))
        rates["**fakes**"].append(job(photos, chosen.cores))
    for name, values in rates.items():
        shares = [one / other for one, other in zip(values, rates["plain script"], strict=True)]
        to.add(network, name, f"{Spread.of(values):.0f}", f"{Spread.of(shares):.2f}")
    os.environ["OMP_NUM_THREADS"] = str(chosen.cores)
    needs = replace(GENERATORS["inswapper"], identity=None)
    generator = build(located([needs])[0])
    requests = requests_of(tasks[:64])
    in_batches(generator, requests, 8)
    alone = Spread.of([64 / seconds_of(lambda: in_batches(generator, requests, 1)) for _ in range(chosen.repeats)])
    eight = Spread.of([64 / seconds_of(lambda: in_batches(generator, requests, 8)) for _ in range(chosen.repeats)])
    to.add(network, "one process, a face at a time", f"{alone:.0f}", "-")
    to.add(network, f"one process, eight at a time, {chosen.cores} threads", f"{eight:.0f}", "-")
    few = field("/proc/self/status", "VmRSS:")
    in_batches(generator, requests * chosen.rounds, 8)
    many = field("/proc/self/status", "VmRSS:")
    to.notes.append(
        f"{network}: memory of one process after a few hundred fakes {few >> 20} MB, after {64 * chosen.rounds:,} more "
        f"{many >> 20} MB."
    )


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--people", type=int, default=120)
    options.add_argument("--rounds", type=int, default=40, help="of 64 fakes, between two looks at memory")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--cores", type=int, default=CORES)
    chosen = options.parse_args()
    claim = f"Fakes of rendered people, photos of 250x250, {chosen.cores} cores. Target for fakes: >= 0.85."
    report = Report("generators", claim, ("network", "program", "fakes/s", "of the script"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        config = RenderedConfig(persons=chosen.people, photos_per_person=4, fakes_per_person=0, photo_size=250)
        rows = write(config, Location(str(work / "photos"))).photos
        pq.write_table(rows, work / "photos.parquet")
        uris, points = rows["uri"].to_pylist(), np.array(rows["landmarks"].to_pylist(), np.float32).reshape(-1, 5, 2)
        rng = np.random.default_rng(0)
        drawn = rng.integers(0, len(uris), (chosen.people * PER_PERSON, 2))
        tasks = [(uris[one], points[one], uris[other], points[other]) for one, other in drawn.tolist()]
        for network in ("small", "larger"):
            measure(chosen, network, work / "cache", work / "photos.parquet", tasks, report)
    report.notes.append(
        f"Median (smallest to largest) of {chosen.repeats} runs that took turns; shares are those of each turn."
    )
    report.write(chosen.results)


if __name__ == "__main__":
    main()
