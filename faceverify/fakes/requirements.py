"""What a run's generators need beside their photos, checked before work starts: packages, files, time."""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from faceverify.errors import UserError
from faceverify.fakes import Description
from faceverify.wording import count_of

EXTRAS = {"fakes": ("diffusers", "transformers", "peft")}  # of pyproject.toml, and what they bring


def prepared(generators: Sequence[Description], prompts: Sequence[str] = ()) -> tuple[Description, ...]:
    """The descriptions with their files in them, and with the prompts of the run.

    Args:
        generators: of the run.
        prompts: what the pictures are to show beside the face, for generators that take words; none = their own.

    Raises:
        UserError: a package or a file is not there or not right, or there are prompts and nobody takes any.
    """
    for one in generators:
        check_extra(one)
    if prompts and not any(one.prompts for one in generators):
        names = ", ".join(one.name for one in generators)
        raise UserError(f"prompts: none of {names} takes any; leave them out, or add instantid to --generators.")
    if not all(prompt.strip() for prompt in prompts):
        raise UserError("prompts: one of them is empty; say in words what the picture shows beside the face.")
    return tuple(
        _prepared(replace(one, prompts=tuple(prompts)) if prompts and one.prompts else one) for one in generators
    )


def check_extra(generator: Description) -> None:
    """Check that the packages of a generator's extra are installed, without importing them.

    Raises:
        UserError: they are not; the text says how to install them.
    """
    absent = [name for name in EXTRAS.get(generator.extra, ()) if find_spec(name) is None]
    if absent:
        raise UserError(
            f"generators: {generator.name} needs {' and '.join(absent)}, not installed here: on every node of the "
            f"cluster, pip install 'faceverify[{generator.extra}]'."
        )


def slowness(generators: Sequence[Description], fakes: int, cpus: int) -> list[str]:
    """A line for each generator that takes long without a GPU.

    Args:
        generators: of the run.
        fakes: how many they are to make together, in equal shares.
        cpus: cores that work on it.
    """
    lines = []
    for one in generators:
        if one.cpu_minutes:
            share = -(-fakes // len(generators))
            hours = share * one.cpu_minutes / 60 / max(1, cpus)
            lines.append(
                f"{one.name} has no GPU here: a fake takes about {_long(one.cpu_minutes / 60)} on a CPU core, "
                f"{share:,} on {count_of(cpus, 'core')} about {_long(hours)}."
            )
    return lines


def _prepared(generator: Description) -> Description:
    if not generator.prepare:
        return generator
    module, _, name = generator.prepare.partition(":")
    return getattr(import_module(module), name)(generator)


def _long(hours: float) -> str:
    if hours < 1:
        return count_of(max(1, round(hours * 60)), "minute")
    return count_of(round(hours), "hour") if hours < 48 else count_of(round(hours / 24), "day")
