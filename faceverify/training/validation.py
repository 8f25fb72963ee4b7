"""How good the network is now: embeddings of the validation pairs, shared among the workers, and error rates.

Also sets the threshold of the branch `detail` from the real validation faces.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from faceverify import tables
from faceverify.evaluation import metrics
from faceverify.evaluation.measure import EvaluationConfig, evaluate
from faceverify.models.detail import Detail, threshold_of
from faceverify.pairs.rows import KINDS
from faceverify.training.batches import FetchImages, decode_face
from faceverify.training.config import ValidationConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Learner, Network
from faceverify.training.material import Material

BATCH_SIZE = 64
_DECODERS = 2


def validate(
    learner: Learner, material: Material, images: FetchImages, config: ValidationConfig, context: DistributedContext
) -> dict[str, Any]:
    """Measure errors on the validation pairs; a collective call: every worker must make it.

    Returns:
        On every worker: eer, accuracy. On rank 0 also the rest.
        eer, eer_low, eer_high (95 % interval), eer_real (genuine against impostors), threshold (of eer_real), accuracy
        (at `config.threshold`), genuine_rejected, impostor_accepted, deepfake_accepted (shares at `threshold`),
        accepted_by_generator.
    """
    pairs = material.val
    rows, back = np.unique(np.concatenate([pairs.a, pairs.b]), return_inverse=True)
    units = embed_rows(learner, rows, images, context)
    a, b = back.reshape(2, -1)
    similarity = np.einsum("nd,nd->n", units[a], units[b])
    scores = metrics.sort_scores(similarity[pairs.label == 1], similarity[pairs.label == 0])
    found: dict[str, Any] = {
        "eer": metrics.equal_error_rate(scores).eer,
        "accuracy": metrics.accuracy(scores, config.threshold),
    }
    return found | (_detailed(material, similarity, config) if context.is_main else {})


def embed_rows(learner: Learner, rows: np.ndarray, images: FetchImages, context: DistributedContext) -> np.ndarray:
    """Unit embeddings [N, D] float32 of faces, by the network in evaluation mode.

    A collective call: every worker must make it with the same rows of the faces table.
    """
    vectors = run_on_rows(learner, rows, images, context)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def run_on_rows(
    learner: Learner, rows: np.ndarray, images: FetchImages, context: DistributedContext, network: Network | None = None
) -> np.ndarray:
    """Outputs [N, D] float32 of the network, or of another function of its input, for faces in evaluation mode.

    A collective call: every worker must make it with the same rows of the faces table.
    """
    training = learner.training
    learner.eval()
    mine = rows[context.rank :: context.size]
    with torch.inference_mode():
        parts = [
            learner.embed(torch.from_numpy(faces).to(context.device), network) for faces in _pictures(mine, images)
        ]
    learner.train(training)
    vectors = torch.cat(parts).cpu().numpy() if parts else np.zeros((0, 1), np.float32)
    if context.size > 1:
        dim = context.all_reduce_max(vectors.shape[1])  # a worker without a row does not know it
        vectors = vectors if len(vectors) else np.zeros((0, dim), np.float32)
    return context.gather_rows(vectors, len(rows))


def _pictures(rows: np.ndarray, images: FetchImages) -> Iterator[np.ndarray]:
    """Decoded faces in batches of BATCH_SIZE; the next ones are decoded while one is used."""

    def decoded(start: int) -> np.ndarray:
        return np.stack([decode_face(data) for data in images(rows[start : start + BATCH_SIZE])])

    with ThreadPoolExecutor(_DECODERS) as pool:
        waiting = []
        for start in range(0, len(rows), BATCH_SIZE):
            waiting.append(pool.submit(decoded, start))
            if len(waiting) > _DECODERS:
                yield waiting.pop(0).result()
        for one in waiting:
            yield one.result()


def _detailed(material: Material, similarity: np.ndarray, config: ValidationConfig) -> dict[str, Any]:
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
    """The validation pairs with their similarities as a scores table."""
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


def calibrate_threshold(
    learner: Learner, material: Material, images: FetchImages, mistaken: float, context: DistributedContext
) -> dict[str, float]:
    """Set the threshold d0 of the branch `detail` from the scores of the real validation faces.

    A collective call: every worker must make it. Without the branch nothing happens.

    Args:
        learner: the learner whose network has the branch.
        material: the data of the training.
        images: fetches the encoded pictures of faces.
        mistaken: mean suppression of real faces to allow (0-1); 0 keeps the stored threshold.
        context: this worker among the others.

    Returns:
        {"detail_threshold": d0} if it was set, else {}.
    """
    branch = getattr(learner.network, "detail", None)
    rows = np.unique(np.concatenate([material.val.a, material.val.b]))
    rows = rows[~material.faces.is_fake[rows]]
    if not isinstance(branch, Detail) or not mistaken or not len(rows):
        return {}
    scores = run_on_rows(learner, rows, images, context, lambda x: branch.scores(x)[:, None])
    d0 = threshold_of(torch.from_numpy(scores), mistaken)
    branch.threshold.fill_(d0)
    return {"detail_threshold": d0}
