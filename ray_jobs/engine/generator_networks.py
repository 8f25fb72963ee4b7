"""Networks of generators that learn: those of this run, of an earlier one, or new ones, trained in a worker."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faceverify.errors import PlatformError
from faceverify.fakes import Description
from faceverify.fakes.learning import Learning, given_networks, place_of, with_networks
from faceverify.images import ImageLimits
from faceverify.storage import Location
from ray_jobs.engine.cluster import Cluster
from ray_jobs.engine.progress import Progress
from ray_jobs.engine.session import storage_sentence
from ray_jobs.engine.telling import told_by_worker

if TYPE_CHECKING:
    from faceverify.fakes import Trained
    from faceverify.fakes.photo_pool import PhotoPool


@dataclass(frozen=True)
class Learned:
    """How networks are come by.

    Args:
        learning, limits, seed: of a training.
        networks: output of an earlier run that has some; None = they are trained.
    """

    learning: Learning
    limits: ImageLimits
    seed: int
    networks: Location | None


def learnt(
    needs: Description, how: Learned, cluster: Cluster, out: Location, photos: Callable[[], "PhotoPool"]
) -> Description:
    """The generator, with networks if it is one that learns: those of this run, if it was interrupted; those of the
    run that was given; or new ones.

    Args:
        needs: the generator.
        how: see `Learned`.
        cluster: what Ray offers.
        out: folder of the run, which keeps the networks.
        photos: gives what is learnt from.
    """
    if not needs.trainer:
        return needs
    place = place_of(out, needs.name)
    if place.is_file():
        return with_networks(needs, place)
    if how.networks:
        place.write_bytes(given_networks(how.networks, needs).read_bytes())
        return with_networks(needs, place)
    progress = Progress(f"{needs.name} learns", how.learning.steps)
    work = (needs, photos(), how.learning, how.limits, how.seed, cluster.gpus > 0, place)
    for told in told_by_worker(learn_in_worker, work, cluster, cpus=2, gpu=cluster.gpus > 0):
        progress.what = f"{needs.name} learns, loss {told.loss:.3f}"
        progress.add(told.steps - progress.done)
    progress.finish()
    return with_networks(needs, place)


def learn_in_worker(*arguments: Any) -> Iterator["Trained"]:
    """`faceverify.fakes.learning.learn`, which loads the trainer; a storage fault becomes a sentence for the user."""
    from faceverify.fakes.learning import learn

    try:
        yield from learn(*arguments)
    except OSError as error:
        raise PlatformError(storage_sentence(error)) from error
