"""The training of a forensic network as the workers of Ray Train run it."""

from typing import TYPE_CHECKING, Any

from faceverify.fakes import Description
from faceverify.storage import Location
from ray_jobs.engine.training_group import Plan, Work

if TYPE_CHECKING:
    from faceverify.forensics.material import ForensicMaterial
    from faceverify.training.task import Task
    from ray_jobs.forensic import ForensicConfig


def plan(
    config: "ForensicConfig",
    material: "ForensicMaterial",
    patches: list[Location],
    generators: tuple[Description, ...],
) -> Plan:
    """Put into the object store what the workers share."""
    import ray
    import torch

    from faceverify.forensics.batches import ForensicBuilder
    from faceverify.forensics.network import ForensicNetwork
    from faceverify.forensics.task import fresh_card
    from ray_jobs.engine.face_store import store_images

    torch.manual_seed(config.batches.seed)
    network = ForensicNetwork(config.network.dct)
    builder = ForensicBuilder(material, config.batches, generators, config.mix)
    card = fresh_card(config.network.dct)
    images = store_images(patches)
    return Plan(ray.put(builder), images, ray.put(network), card, len(material.train), forensic_task)


def forensic_task(work: Work) -> "Task":
    """What a worker trains."""
    from faceverify.forensics.task import ForensicLearner, ForensicObjective, ForensicTask
    from faceverify.training.network import layout_of, precision_of, prepared_norms

    config: Any = work.config
    context = work.context
    network: Any = prepared_norms(work.network, config.network.bn).to(context.device)
    network = network.to(memory_format=layout_of(network, context.device))
    precision = precision_of(config.network.precision, context.device)
    learner = ForensicLearner(network, ForensicObjective(config.losses), precision).to(context.device)
    return ForensicTask(learner, work.card, work.builder, work.images, config.validation, context)
