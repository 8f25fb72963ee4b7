"""The bare floor: decode, warp and run the network on every core of one machine, and nothing else.

No table is written, no photo is checked, nothing survives an interruption. Several ways to do it are offered, because
which is fastest depends on the machine; the benchmark compares with the fastest.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

from faceverify.align.geometry import fit_similarity
from faceverify.models import onnx_file
from faceverify.models.prelu import without_prelu

Task = tuple[str, np.ndarray | None]  # path, landmarks [5,2] or None: to be detected
Run = Callable[[np.ndarray], np.ndarray]  # [n,3,112,112] float32 0..255 RGB -> [n,dim]


@dataclass(frozen=True)
class Setup:
    """What every way needs. `same_graph`: the network as the project runs it, PReLU rewritten; else the file as is."""

    model: Path
    detector: Path
    cores: int
    same_graph: bool


def network(setup: Setup, threads: int) -> Run:
    """A bare session; mobilefacenet_y1 subtracts and divides by itself."""
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads, options.log_severity_level = threads, 1, 3
    source = without_prelu(onnx_file.read(setup.model)).SerializeToString() if setup.same_graph else str(setup.model)
    session = ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda x: np.asarray(session.run(None, {name: x})[0])


def read(path: str) -> np.ndarray:
    """BGR pixels."""
    with open(path, "rb") as stream:
        image = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None, path
    return image


class Cutter:
    """Path and landmarks -> crop; one detector per thread."""

    def __init__(self, detector: Path) -> None:
        cv2.setNumThreads(1)
        self._path, self._own = str(detector), threading.local()

    def __call__(self, task: Task) -> np.ndarray:
        """[112,112,3] uint8 RGB."""
        image = read(task[0])
        landmarks = self.find(image) if task[1] is None else task[1]
        assert landmarks is not None  # photos without a face were sorted out beforehand
        crop = cv2.warpAffine(image, fit_similarity(landmarks[None])[0], (112, 112), flags=cv2.INTER_LINEAR)
        return crop[..., ::-1]

    def find(self, image: np.ndarray) -> np.ndarray | None:
        """Landmarks [5,2] of the best-scored face in BGR pixels, or None."""
        if not hasattr(self._own, "net"):
            cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # else it warns of its own innards
            self._own.net = cv2.FaceDetectorYN.create(self._path, "", (64, 64), 0.6, 0.3, 5000)
        self._own.net.setInputSize(image.shape[1::-1])
        faces = self._own.net.detect(image)[1]
        return None if faces is None else faces[0, 4:14].reshape(5, 2)


def blob(crops: list[np.ndarray]) -> np.ndarray:
    """[n,3,112,112] float32."""
    return np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2)).astype(np.float32)


def batches(tasks: list[Task], size: int) -> Iterator[list[Task]]:
    """`size` at a time."""
    return (tasks[start : start + size] for start in range(0, len(tasks), size))


def by_threads(setup: Setup, tasks: list[Task], batch: int) -> float:
    """One thread per core, each with a session of its own of one thread; seconds."""
    cut, own = Cutter(setup.detector), threading.local()

    def work(part: list[Task]) -> np.ndarray:
        return own.run(blob([cut(task) for task in part]))

    def open_session() -> None:
        own.run = network(setup, 1)

    with ThreadPoolExecutor(setup.cores, initializer=open_session) as pool:
        list(pool.map(work, batches(tasks[: 4 * batch * setup.cores], batch)))  # warm
        start = time.perf_counter()
        list(pool.map(work, batches(tasks, batch)))
        return time.perf_counter() - start


def by_prefetch(setup: Setup, tasks: list[Task], batch: int) -> float:
    """Threads that decode and warp ahead of one session that uses all cores; seconds."""
    cut, run = Cutter(setup.detector), network(setup, setup.cores)
    run(np.zeros((batch, 3, 112, 112), np.float32))

    def prepare(part: list[Task]) -> np.ndarray:
        return blob([cut(task) for task in part])

    with ThreadPoolExecutor(setup.cores) as pool:
        list(pool.map(prepare, batches(tasks[: 4 * batch], batch)))
        start = time.perf_counter()
        waiting: deque[Future[np.ndarray]] = deque()
        for part in batches(tasks, batch):
            waiting.append(pool.submit(prepare, part))
            if len(waiting) > 2 * setup.cores:
                run(waiting.popleft().result())
        while waiting:
            run(waiting.popleft().result())
        return time.perf_counter() - start


def by_processes(setup: Setup, tasks: list[Task], batch: int) -> float:
    """One process per core, each with a session of one thread; seconds."""
    with get_context("spawn").Pool(setup.cores, _open, (setup,)) as pool:
        pool.map(_work, batches(tasks[: 4 * batch * setup.cores], batch), chunksize=4)
        start = time.perf_counter()
        pool.map(_work, batches(tasks, batch), chunksize=16)
        return time.perf_counter() - start


_STATE: list[tuple[Cutter, Run]] = []


def _open(setup: Setup) -> None:
    _STATE.append((Cutter(setup.detector), network(setup, 1)))


def _work(part: list[Task]) -> np.ndarray:
    cut, run = _STATE[0]
    return run(blob([cut(task) for task in part]))


WAYS: dict[str, tuple[Callable[[Setup, list[Task], int], float], int]] = {
    "a session per thread": (by_threads, 2),
    "one session, all threads, photos prepared ahead": (by_prefetch, 32),
    "a session per process": (by_processes, 2),
}
