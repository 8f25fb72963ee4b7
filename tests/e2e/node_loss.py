"""Jobs that lose a node in their middle, on a cluster of their own; run as a program of its own.

    python node_loss.py JOB...

Three nodes of one CPU each and a head without any, on this machine (`ray.cluster_utils.Cluster`). Each job runs twice
as a process of its own; the second time a node that works for it is killed with all its processes, and does not come
back while the job runs. Compared is everything that the job publishes, row by row; of the training, every loss. The
jobs fakes and train take what align makes. A line for each job says whether it came to the same, and after how many
shards (of training: steps) the node was lost.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parents[2]
NODES = 3
TRAINED = ["--network.architecture", "tiny", "--network.dim", "32", "--network.bn", "frozen", "--batches.size", "16"]
TRAINED += ["--batches.epochs", "50", "--batches.max-steps", "30", "--validation.every", "15", "--workers", "2"]
TRAINED += ["--validation.checkpoint-every", "5", "--validation.replicates", "0", "--tell-every", "1"]


@dataclass(frozen=True)
class Job:
    """One job: its options, what tells how far it is, when the node is lost, and what has to be the same."""

    name: str
    options: list[str]
    progress: Callable[[Path], int]
    lose_at: int
    published: Callable[[Path], Any]


def parts(stage: str) -> Callable[[Path], int]:
    """How many shards of a stage are done."""
    return lambda out: len(list((out / ".work" / stage).glob("[0-9]*.parquet")))


def tables(*names: str) -> Callable[[Path], Any]:
    """The rows of tables."""
    return lambda out: {name: pq.read_table(out / name).to_pylist() for name in names}


def pictures(out: Path) -> Any:
    """The rows of a photos table and the bytes of all pictures made, wherever the folder lies."""
    rows = pq.read_table(out / "photos").to_pylist()
    files = {str(path.relative_to(out)): path.read_bytes() for path in (out / "pictures").rglob("*") if path.is_file()}
    return [{**row, "uri": row["uri"].removeprefix(str(out))} for row in rows], files


def checkpoint(out: Path) -> int:
    """The step of the last checkpoint."""
    return max((int(path.parent.name[5:]) for path in (out / "checkpoints").glob("step-*/done.json")), default=0)


def trained(out: Path) -> Any:
    """Every loss, to the eighth digit."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], round(line["loss"], 8)) for line in lines if "loss" in line]


def jobs(home: Path, network: Path) -> list[Job]:
    """The jobs on people drawn before."""
    photos, faces = str(home / "photos"), str(home / "align" / "calm")
    given = ["--align.method", "annotated", "--photos-per-shard", "4"]
    fakes = ["--photos", photos, "--faces", faces]
    clean = ["--photos", photos, "--embeddings", str(home / "embeddings"), "--photos-per-shard", "8"]
    score = ["--photos", photos, "--pairs", str(home / "pairs"), "--model", str(network), *given]
    return [
        Job("align", ["--photos", photos, *given], parts("faces"), 20, tables("faces", "rejects")),
        Job("score", [*score, "--pairs-per-shard", "16"], parts("embeddings"), 20, tables("scores", "embeddings")),
        Job("clean", clean, parts("components"), 12, tables("decisions", "photos", "cases", "duplicates")),
        Job("pairs", ["--photos", photos, "--pairs-per-shard", "4"], parts("pairs"), 40, tables("pairs")),
        Job("fakes", [*fakes, "--people-per-shard", "2"], fakes_done, 6, pictures),
        Job("train", ["--faces", faces, "--pairs", str(home / "pairs"), *TRAINED], checkpoint, 5, trained),
    ]


def fakes_done(out: Path) -> int:
    """How many shards of fakes are made, over all generators."""
    return len(list((out / ".work").glob("*/[0-9]*.parquet")))


def prepare(home: Path) -> Path:
    """Draw people, pair them, and make a tiny network; none of it needs a cluster."""
    import torch

    from faceverify.models import card
    from faceverify.models.export import export_onnx
    from faceverify.models.iresnet import iresnet
    from faceverify.pairs.people import gather
    from faceverify.pairs.quotas import quotas
    from faceverify.pairs.rows import pairs_of
    from faceverify.rendered import RenderedConfig, write
    from faceverify.storage import Location

    config = RenderedConfig(persons=40, photos_per_person=6, fakes_per_person=2, photo_size=160)
    photos = write(config, Location(str(home / "people"))).photos
    photos = photos.set_column(photos.schema.get_field_index("split"), "split", pa.nulls(len(photos), pa.string()))
    everybody = gather(photos, 0, 0.2)
    pairs = pairs_of(everybody, quotas(everybody, True), range(config.persons))
    for name, table in {"photos": photos, "pairs": pairs, "embeddings": clustered(photos)}.items():
        (home / name).mkdir()
        pq.write_table(table, home / name / "part.parquet", store_schema=name != "pairs")
    torch.manual_seed(0)
    described = card.build(name="tiny", architecture="tiny", colour="RGB", mean=[127.5] * 3, std=[127.5] * 3, dim=64)
    return Path(export_onnx(iresnet("tiny", 64).eval(), described, home / "tiny.onnx").path)


def clustered(photos: pa.Table) -> pa.Table:
    """Embeddings of the photos that lie around a centre for each person; every tenth is around the next one's."""
    import numpy as np

    from faceverify import tables as known

    rng = np.random.default_rng(0)
    person = pc.rank(photos["person"], tiebreaker="dense").to_numpy() - 1
    strays = np.arange(len(person)) % 10 == 0
    centres = rng.standard_normal((person.max() + 1, 64), dtype=np.float32)
    vectors = centres[(person + strays) % len(centres)] + 0.6 * rng.standard_normal((len(person), 64), dtype=np.float32)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), 64)
    unknown = pa.nulls(len(person), pa.string())
    norms = np.linalg.norm(vectors, axis=1)
    columns = [photos["photo"], flat, norms, pa.repeat(pa.scalar(""), len(person)), unknown, unknown]
    return pa.table(columns, schema=known.embeddings(64))


class Nodes:
    """The cluster, and the loss of one of its nodes."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(NODES)]
        self.cluster.wait_for_nodes()

    def lose_one(self) -> None:
        """Kill the node that was added last, with all its processes and at once."""
        self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)

    def replace(self) -> None:
        """Bring the cluster back to its size."""
        while len(self.nodes) < NODES:
            self.nodes.append(self.cluster.add_node(num_cpus=1))
        self.cluster.wait_for_nodes()

    def run(self, job: Job, out: Path, lose: bool) -> int:
        """Run the job; returns how far it was when the node was lost (0 = it was not)."""
        over, lost_at = threading.Event(), 0

        def watch() -> None:
            nonlocal lost_at
            while not over.wait(0.02):
                if (reached := job.progress(out)) >= job.lose_at:
                    lost_at = reached
                    return self.lose_one()

        watcher = threading.Thread(target=watch)
        command = [sys.executable, "-m", f"ray_jobs.{job.name}", *job.options, "--out", str(out)]
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"RAY_ADDRESS": self.cluster.address}) as process:
            if lose:
                watcher.start()
            code = process.wait()
        over.set()
        if lose:
            watcher.join()
        assert code == 0, f"{job.name} ended with {code}"
        return lost_at


def main() -> None:
    """Entry point."""
    with tempfile.TemporaryDirectory(prefix="fv", dir="/tmp") as folder:
        os.environ["RAY_TMPDIR"] = folder  # the cluster is nobody else's
        home = Path(folder) / "data"
        home.mkdir()
        network, nodes = prepare(home), Nodes()
        for job in jobs(home, network):
            if job.name not in sys.argv[1:]:
                continue
            calm, lossy = home / job.name / "calm", home / job.name / "lossy"
            nodes.replace()
            nodes.run(job, calm, lose=False)
            reached = nodes.run(job, lossy, lose=True)
            same = "the same" if job.published(calm) == job.published(lossy) else "something else"
            print(f"{job.name}: {same}, lost after {reached}", flush=True)
        nodes.cluster.shutdown()


if __name__ == "__main__":
    main()
