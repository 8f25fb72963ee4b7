"""What depends on the kind of network that is trained: the loop asks a task, and knows nothing of pairs or photos."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from faceverify.training.batches import Batch, BatchBuilder, FetchImages
from faceverify.training.config import ValidationConfig
from faceverify.training.distributed import DistributedContext
from faceverify.training.learner import Learner, Tensors, split_batch, to_tensors
from faceverify.training.material import Material
from faceverify.training.validation import calibrate_threshold, embed_rows, validate


class Task(Protocol):
    """A kind of network to train.

    Attributes:
        learner: a module that takes a batch's tensors and gives the loss and the value of each of its components, on
            the worker's device. It has a `network`, which checkpoints keep, an `objective`, whose parameters learn too,
            and the `precision` of the network.
        card: the network's card.
        builder: makes the batches; its `order()` says how many there are.
    """

    learner: Any
    card: Any
    builder: Any

    def start(self) -> None:
        """Set what begins from the data; called on all workers before the first step of a training."""
        ...

    def tensors(self, batch: Any) -> Tensors:
        """A batch on the worker's device."""
        ...

    def split(self, batch: Tensors, count: int) -> list[Tensors]:
        """A worker's batch in `count` parts, for gradient accumulation."""
        ...

    def validate(self) -> dict[str, Any]:
        """Judge the network, all workers together; `eer` is what the best checkpoint is chosen by, then `accuracy`."""
        ...

    def photos(self, rows: np.ndarray) -> list[str]:
        """The names of some rows."""
        ...


@dataclass
class RecogniserTask:
    """A network that tells people apart, trained on pairs or on identities.

    Args:
        learner: see `Task`.
        card: the network's card.
        original: the frozen network that `distill` compares with; None if no loss needs it.
        builder: data, batches, augmentation.
        images: fetches the encoded pictures of faces, for validation.
        validation: how it is judged.
        context: this worker among the others.
    """

    learner: Learner
    card: Any
    original: nn.Module | None
    builder: BatchBuilder
    images: FetchImages
    validation: ValidationConfig
    context: DistributedContext

    @property
    def material(self) -> Material:
        """Faces and pairs."""
        return self.builder.material

    def start(self) -> None:
        """Start class centres at the mean embedding of their person, unless the network is fresh."""
        objective, material = self.learner.objective, self.material
        if not objective.state_dict() or self.card.source == "":
            return
        units = embed_rows(self.learner, material.train_faces, self.images, self.context)
        classes = material.classes[material.train_faces]
        total = np.zeros((int(classes.max()) + 1, units.shape[1]), np.float32)
        np.add.at(total, classes, units)
        objective.start_from(torch.from_numpy(total).to(self.context.device))

    def tensors(self, batch: Batch) -> Tensors:
        """The batch on the device, with the original network's embeddings of the real faces if a loss needs them."""
        tensors = to_tensors(batch, self.context.device)
        if self.original is None:
            return tensors
        real = torch.from_numpy(np.flatnonzero(~batch.is_fake)).to(self.context.device)
        with torch.inference_mode():
            embeddings = self.learner.embed(tensors["faces"][real], self.original)
        reference = torch.zeros(len(batch.is_fake), embeddings.shape[1], device=embeddings.device)
        reference[real] = embeddings  # no loss looks at those of fakes
        return tensors | {"reference": reference}

    def split(self, batch: Tensors, count: int) -> list[Tensors]:
        """See `split_batch`."""
        return split_batch(batch, count)

    def validate(self) -> dict[str, Any]:
        """See `faceverify.training.validation`."""
        given = self.learner, self.material, self.images
        threshold = calibrate_threshold(*given, self.validation.mistaken, self.context)
        return threshold | validate(*given, self.validation, self.context)

    def photos(self, rows: np.ndarray) -> list[str]:
        """Names of faces."""
        return self.material.faces.photos.take(pa.array(rows)).to_pylist()
