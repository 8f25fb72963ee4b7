"""The weights of generators: where they are, whether they are what their names say. Nothing heavy is imported before.

Files lie in the cache of published networks, `faceverify models fetch NAME --from FILE` puts them there.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from faceverify.errors import UserError
from faceverify.fakes import Description, Weights
from faceverify.fakes.swapper_table import CONVERTER, GHOST_BACKBONE, GHOST_POINTS, GHOSTS, POINTS_106, SWAPPERS
from faceverify.models import cache, files, registry


def located(generators: Sequence[Description]) -> tuple[Description, ...]:
    """The descriptions with what was found of the files that they name.

    Raises:
        UserError: a file, or the network of `identity`, is not there: names the generator, the file, who publishes it
            and how to bring it; or a file holds another network.
    """
    missing, who = [], []
    for needs in generators:
        identity = [needs.identity.model] if needs.identity and needs.identity.model in registry.entries() else []
        absent = [name for name in (*needs.files, *identity) if cache.find(name) is None]
        if absent:
            named = " and ".join(registry.get(name).files[0].name for name in absent)
            who.append(f"{needs.name} needs {named}")
        missing += absent
    if missing:
        sentence = cache.absent(list(dict.fromkeys(missing)))
        raise UserError(f"generators: {', '.join(who)}; {sentence[0].lower()}{sentence[1:]}")
    return tuple(_with_files(needs) if needs.files and not needs.weights else needs for needs in generators)


def _with_files(needs: Description) -> Description:
    found = []
    for name in needs.files:
        path = cache.locate(name)
        check_file(name, path)
        found.append(Weights(name, str(path), files.sha256_of(path)))
    return replace(needs, weights=tuple(found))


def remarks(generators: Sequence[Description]) -> list[str]:
    """What the user should read of the files, each once: its licence; a warning if it is not one that is known."""
    told = {}
    for file in (file for needs in generators for file in needs.weights if file.name in registry.entries()):
        entry = registry.get(file.name)
        use = {"yes": "commercial use allowed", "no": "no commercial use", "unclear": "commercial use unclear"}
        told[file.name] = [f"{file.name}: licence {entry.licence} ({use[entry.commercial]})"]
        if warning := entry.stranger(file.sha256):
            told[file.name].append(f"Warning: {warning}")
    return [line for lines in told.values() for line in lines]


def check_file(name: str, path: Path) -> None:
    """Check that a file holds the network that is published under a name, without running it.

    Args:
        name: of a generator's file in the registry.
        path: of the file.

    Raises:
        UserError: it is damaged, or holds another one.
    """
    if name == GHOST_BACKBONE or name in dict(GHOSTS.values()):
        from faceverify.fakes.ghost_network import check

        check(name, path)
        return
    from faceverify.fakes.onnx_graph import find_ports, identity_table
    from faceverify.models import onnx_file

    row = next((row for row in SWAPPERS.values() if row.weights == name), None)
    model = onnx_file.read(path)
    find_ports(model, row.signature if row else POINTS_106 if name == GHOST_POINTS else CONVERTER, path)
    if row and row.identity == "table":
        identity_table(model, path)
