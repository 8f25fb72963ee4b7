"""`--help` of a job without what the job works with: numpy, Arrow, OpenCV and the like take longer than the answer.

A job's options are dataclasses, spread over the modules that use them. Here these classes are made alone: of each
module the definitions that they need, found in its source, and nothing else of it. What is shown is the same, letter
for letter; a test compares the two for every job.
"""

import ast
import importlib.util
import sys
from collections.abc import Sequence
from copy import copy
from functools import cache
from pathlib import Path
from types import ModuleType

from ray_jobs.engine.signals import quiet_when_unread

OURS = ("faceverify", "ray_jobs")
HOME = Path(__file__).parents[2]
_ASKED = (["--help"], ["-h"])


def asked_for(arguments: Sequence[str]) -> bool:
    """Whether the help of a job is all that is asked for."""
    return list(arguments) in _ASKED


def answer(job: str, arguments: Sequence[str]) -> int | None:
    """Show the help of `ray_jobs.JOB`; returns the exit code, or None if the module has no such options."""
    name = f"ray_jobs.{job}"
    path, found = _place(name), options_class(name)
    if path is None or found is None:
        return None

    def show() -> int:
        from faceverify import config
        from faceverify.program import program

        description = ast.get_docstring(_source(path), clean=False) or ""
        config.load(getattr(_load(name, {found}), found), arguments, prog=program(job), description=description)
        return 0

    return quiet_when_unread(show)


def options_class(module: str) -> str | None:
    """The name of the class of options that a job's module (`ray_jobs.score`) gives to `run_job`; None if none."""
    path = _place(module)
    return _main_of(_source(path)) if path else None


def _place(name: str) -> Path | None:
    """The file of a module of ours; looked for by hand, as Python would import the packages that it is in."""
    folder = HOME.joinpath(*name.split("."))
    return next((path for path in (folder / "__init__.py", folder.with_suffix(".py")) if path.is_file()), None)


@cache
def _source(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _main_of(tree: ast.Module) -> str | None:
    """The class of options that a module gives to `run_job`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "run_job":
            options = node.args[1]
            return options.id if isinstance(options, ast.Name) else None
    return None


def _load(name: str, wanted: set[str]) -> ModuleType:
    """The module `name` with the definitions `wanted` and what they need; more of it if it is there in part."""
    path = _place(name)
    assert path is not None, name
    if parent := name.rpartition(".")[0]:
        _load(parent, set())
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
    module, tree = sys.modules[name], _source(path)
    kept = _needed(tree, {one for one in wanted if not hasattr(module, one)}, module)
    for node in kept:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OURS:
            for alias in node.names:
                _bring(str(node.module), alias.name, _read_of(kept, alias.asname or alias.name))
    code = compile(ast.Module(kept, []), str(module.__file__), "exec")
    exec(code, module.__dict__)  # noqa: S102
    return module


def _bring(module: str, name: str, read: set[str]) -> None:
    """Make what `from module import name` finds; of a module `name` that of which `read` is all that is used."""
    path = _place(module)
    if path is not None and name in _defined(_source(path)):
        _load(module, {name})
    else:
        _load(f"{module}.{name}", read)


def _read_of(nodes: list[ast.stmt], module: str) -> set[str]:
    """The names that these statements take out of a module: `x` of `module.x`."""
    every = (one for node in nodes for one in ast.walk(node) if isinstance(one, ast.Attribute))
    return {one.attr for one in every if isinstance(one.value, ast.Name) and one.value.id == module}


def _defined(tree: ast.Module) -> dict[str, ast.stmt]:
    """The top-level statement behind each name of a module."""
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        match node:
            case ast.ClassDef() | ast.FunctionDef():
                found[node.name] = node
            case ast.Import() | ast.ImportFrom():
                found |= {alias.asname or alias.name.split(".")[0]: node for alias in node.names}
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found |= {one.id: node for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)}
    return found


def _needed(tree: ast.Module, wanted: set[str], module: ModuleType) -> list[ast.stmt]:
    """The statements that define `wanted`, and all they name that is not there yet, in the order of the source."""
    defined = _defined(tree)
    names, waiting = set(), list(wanted)
    while waiting:
        name = waiting.pop()
        if name in names or name not in defined or hasattr(module, name):
            continue
        names.add(name)
        if not isinstance(defined[name], ast.Import | ast.ImportFrom):
            inside = (one for one in ast.walk(defined[name]) if isinstance(one, ast.Name))
            waiting += [one.id for one in inside if isinstance(one.ctx, ast.Load)]  # fields are called like modules
    kept = []
    for node in tree.body:
        own = [name for name in names if defined[name] is node]
        if own and isinstance(node, ast.Import | ast.ImportFrom):
            node = copy(node)  # another time other names of it may be needed
            node.names = [alias for alias in node.names if (alias.asname or alias.name.split(".")[0]) in own]
        if own:
            kept.append(node)
    return kept
