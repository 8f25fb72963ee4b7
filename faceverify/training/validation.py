"""How good the network is now: embeddings of the validation pairs, shared among the workers, and the errors by kind."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from faceverify import tables
from faceverify.evaluation import metrics
from faceverify.evaluation.measure import EvaluationConfig, evaluate
from faceverify.pairs.rows import KINDS
from faceverify.training.batches import GetImages, decode_face
from faceverify.training.learner import Learner, Network
from faceverify.training.material import Material
from faceverify.training.recipe import ValidationConfig
from faceverify.training.world import World

FACES_AT_A_TIME = 64
_DECODERS = 2


def validate(
    learner: Learner, material: Material, images: GetImages, config: ValidationConfig, world: World
) -> dict[str, Any]:
    """What was found, the same on every worker but for the intervals, which the first one makes.

    Returns:
        eer, eer_low, eer_high (95 % interval), eer_real (genuine against impostors), threshold (of eer_real), accuracy
        (at `config.threshold`), genuine_rejected, impostor_accepted, deepfake_accepted (shares at `threshold`),
        accepted_by_generator.
    """
    pairs = material.val
    rows, back = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    units = embed_rows(learner, rows, images, world)
    a, b = back.reshape(2, -1)
    similarity = np.einsum("nd,nd->n", units[a], units[b])
    scores = metrics.sort_scores(similarity[pairs.label == 1], similarity[pairs.label == 0])
    found: dict[str, Any] = {
        "eer": metrics.equal_error_rate(scores).eer,
        "accuracy": metrics.accuracy(scores, config.threshold),
    }
    return found | (_in_detail(material, similarity, config) if world.first else {})


def embed_rows(learner: Learner, rows: np.ndarray, images: GetImages, world: World) -> np.ndarray:
    """Unit embeddings [N, D] float32 of rows of the faces, by the network in evaluation mode; all workers must ask."""
    vectors = look_at_rows(learner, rows, images, world)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def look_at_rows(
    learner: Learner, rows: np.ndarray, images: GetImages, world: World, network: Network | None = None
) -> np.ndarray:
    """What the network, or a part of it, makes of rows of the faces, in evaluation mode: [N, D] float32; all workers
    must ask."""
    training = learner.training
    learner.eval()
    mine = rows[world.rank :: world.size]
    with torch.inference_mode():
        parts = [learner.embed(torch.from_numpy(faces).to(world.device), network) for faces in _pictures(mine, images)]
    learner.train(training)
    vectors = torch.cat(parts).cpu().numpy() if parts else np.zeros((0, 1), np.float32)
    if world.size > 1:
        dim = world.largest(vectors.shape[1])  # a worker without a row does not know it
        vectors = vectors if len(vectors) else np.zeros((0, dim), np.float32)
    return world.gather_rows(vectors, len(rows))


def _pictures(rows: np.ndarray, images: GetImages) -> Iterator[np.ndarray]:
    """Decoded faces, a few at a time, the next ones prepared while these are used."""

    def decoded(start: int) -> np.ndarray:
        return np.stack([decode_face(data) for data in images(rows[start : start + FACES_AT_A_TIME])])

    with ThreadPoolExecutor(_DECODERS) as pool:
        waiting = []
        for start in range(0, len(rows), FACES_AT_A_TIME):
            waiting.append(pool.submit(decoded, start))
            if len(waiting) > _DECODERS:
                yield waiting.pop(0).result()
        for one in waiting:
            yield one.result()


def _in_detail(material: Material, similarity: np.ndarray, config: ValidationConfig) -> dict[str, Any]:
    judged = evaluate(
        score_rows(material, similarity), EvaluationConfig(fmr_targets=(), replicates=config.replicates, worst_pairs=0)
    )
    low, high = judged.eer_interval or (None, None)
    kinds = judged.by_kind
    shares = {"genuine": "genuine_rejected", "impostor": "impostor_accepted", "deepfake": "deepfake_accepted"}
    by_kind = {name: kinds[kind].error_rate if kind in kinds else None for kind, name in shares.items()}
    return {
        "eer_low": low,
        "eer_high": high,
        "eer_real": judged.eer_real,
        "threshold": judged.threshold,
        **by_kind,
        "accepted_by_generator": {name: one.accept_rate for name, one in judged.by_generator.items()},
    }


def score_rows(material: Material, similarity: np.ndarray) -> pa.Table:
    """The validation pairs with their similarities, as a scores table."""
    pairs, faces = material.val, material.faces
    photos, generators = faces.photos.combine_chunks(), pa.array([*faces.generators, None], pa.string())
    people = pa.array([*faces.persons, None], pa.string())
    generator = np.where(faces.is_fake[pairs.b], faces.generator[pairs.b], faces.generator[pairs.a])
    count = len(pairs)
    columns = {
        "pair": pa.array(map(str, range(count)), pa.string()),
        "photo_a": photos.take(pa.array(pairs.a)),
        "photo_b": photos.take(pa.array(pairs.b)),
        "label": pairs.label,
        "kind": pa.array(KINDS).take(pa.array(pairs.kind)),
        "generator": generators.take(pa.array(np.where(generator < 0, len(faces.generators), generator))),
        "split": pa.repeat("val", count),
        "person_a": people.take(pa.array(_named(faces.person[pairs.a], len(faces.persons)))),
        "person_b": people.take(pa.array(_named(faces.person[pairs.b], len(faces.persons)))),
        "similarity": similarity.astype(np.float32),
        "accepted": pa.nulls(count, pa.bool_()),
        "status": pa.repeat("ok", count),
        "scored_with": pa.nulls(count, pa.string()),  # by a network that has no digest yet
    }
    return pa.table(columns, schema=tables.SCORES)


def _named(person: np.ndarray, nobody: int) -> np.ndarray:
    return np.where(person < 0, nobody, person)
