"""Which published networks a job needs: it looks for them before anything else, and `models fetch --for` fetches them.

Nothing of the registry is loaded before it is asked for: `--help` has no need of it.
"""

import os
from typing import Any

from faceverify.align import AlignConfig


def default_model() -> str:
    """The recogniser that is taken where none is named; says so."""
    from faceverify.models.registry import DEFAULT_RECOGNISER

    print(f"No model is named: {DEFAULT_RECOGNISER} is taken, which anybody may use.")
    return DEFAULT_RECOGNISER


def seen_from_anywhere(name: str) -> str:
    """What the workers of a running cluster, at work in another folder, are told in place of a name or a path.

    A published name becomes its file in the cache of this process, a relative path an absolute one; an address stays as
    it is.
    """
    from faceverify.models import cache, registry

    if name in registry.entries():
        return str(cache.find(name) or name)
    return os.path.abspath(name) if name and os.path.exists(name) else name


def weights_seen(config: AlignConfig) -> str:
    """The same of the weights of an aligner; empty where it reads none."""
    return seen_from_anywhere(_detector(config) or config.weights)


def shared_weights(align: AlignConfig | None, model: str = "") -> list[str]:
    """The weights that every node has to see."""
    return [place for place in (weights_seen(align) if align else "", seen_from_anywhere(model)) if place]


def wanted(job: str, config: Any) -> list[str]:
    """The names of published networks that a job will ask the cache for, each once.

    Args:
        job: its name.
        config: its configuration.

    Raises:
        UserError: a name stands where a network of another kind belongs.
    """
    from faceverify.models import registry

    match job:
        case "align" | "forensic":
            crops = config.crop if job == "align" else ()
            named = [_detector(config.align), *(name for name in crops if name in registry.entries())]
        case "compare":
            named = [_detector(config.align), *config.models]
        case "score":  # without photos it embeds nothing
            embeds = config.photos or not config.embeddings
            named = [_detector(config.align), config.model or registry.DEFAULT_RECOGNISER] if embeds else []
        case "attack" | "all_pairs":  # the latter asks once it knows that it is given photos, and not embeddings
            named = [_detector(config.align), config.model or registry.DEFAULT_RECOGNISER]
        case "embed":
            named = [config.model or registry.DEFAULT_RECOGNISER]
        case "fakes":
            from faceverify.fakes import describe

            needs = describe(config.generators)
            named = [name for one in needs for name in (*one.files, one.identity.model if one.identity else "")]
            named += [config.recogniser]
        case "train" | "tune":
            named = [config.start]
        case "export":
            named = [config.checkpoint]
        case "pipeline" | "demo":
            starts = [config.finetune.start, config.pretraining.train.start]
            named = [_detector(config.align.align), config.embed.model, *starts]
        case _:
            named = []
    return [name for name in dict.fromkeys(named) if name in registry.entries()]


def check_fetched(job: str, config: Any) -> None:
    """Check that the networks a job needs are in the cache.

    Raises:
        UserError: they are not; names the one command that brings them all.
    """
    from faceverify.models import cache

    cache.require(wanted(job, config))


def _detector(align: AlignConfig) -> str:
    from faceverify.align.weights import name_of

    return name_of(align)
