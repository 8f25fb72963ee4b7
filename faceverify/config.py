"""Configuration: frozen dataclasses, filled from YAML, then from the command line, then checked.

A job's configuration is one dataclass whose fields carry attribute docstrings: these are the `--help` text. Nested
dataclasses become dotted options (`--align.method yunet`) and nested YAML mappings. All faults of a file are reported
at once, unknown keys with the nearest known name.
"""

import dataclasses
import difflib
import hashlib
import json
import sys
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Interval

from faceverify import shipped
from faceverify.errors import UserError
from faceverify.program import program
from faceverify.reading import MAX_YAML_BYTES, SHOWN, MalformedError, parse_yaml, shown
from faceverify.redaction import redacted

T = TypeVar("T")
MAX_FAULTS = 20  # reported for one file

# The type of a field that names an input: a path, an address, a published name. What lies there decides what comes out,
# and not how it was named: see `plan_of`.
Input = Annotated[str, "input"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobConfig:
    """What every job takes. None of it changes the rows that come out, so a job may be resumed with other values."""

    # No slots: a job may inherit from a second dataclass too.

    out: str = ""
    """Folder for the output, local or s3://bucket/key. Required."""
    overwrite: bool = False
    """Delete what an earlier run left in `out` and start again."""
    dry_run: bool = False
    """Check everything, print the plan, and stop before work starts."""
    workers: int = 0
    """Worker processes; 0 = one per CPU (and one per GPU for networks) of the cluster."""
    cpus: int = 0
    """Free CPUs that an autoscaling cluster is asked for before work starts; 0 = use what is there."""
    gpus: int = 0
    """Free GPUs that an autoscaling cluster is asked for before work starts; 0 = use what is there."""
    grow_minutes: float = 15.0
    """Minutes to wait for the requested CPUs and GPUs before giving up."""
    max_failed: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Stop, with exit code 2, if more than this share of the rows fails for one reason; 1 = never."""
    verbose: bool = False
    """Show Ray's own messages too."""


def load(config_class: type[T], argv: Sequence[str], *, prog: str, description: str) -> T:
    """Build a `config_class` from `[CONFIG.yaml] [--dotted.option value ...]`; the command line wins.

    Raises:
        UserError: every fault of the YAML file or of the values, in one text.
        SystemExit: by the command-line parser, for `--help` (0) and unknown options (2).
    """
    import tyro

    arguments = list(argv)
    defaults = config_class()
    if arguments and not arguments[0].startswith("-"):
        defaults = from_yaml(config_class, Path(arguments.pop(0)))
    usage = f"{description}\n\nUsage: {prog} [CONFIG.yaml] [--option value ...]"
    if arguments in (["--help"], ["-h"]) and (sections := _sections(config_class)):
        steps = ", ".join(sections)
        usage += f"\n\nSteps that have the options of their jobs, as in --{sections[-1]}.OPTION: {steps}."
        usage += f" `faceverify {sections[-1]} --help` lists those of {sections[-1]}."
        config_class, defaults = _without(config_class, sections)
    config = tyro.cli(config_class, default=defaults, args=arguments, prog=prog, description=usage)
    return _checked(config_class, dataclasses.asdict(typing.cast(Any, config)), "command line")


def _sections(config_class: type) -> list[str]:
    """The fields that hold the configurations of other jobs, by themselves or in groups."""
    kinds = typing.get_type_hints(config_class)
    inner = {name: kind for name, kind in kinds.items() if dataclasses.is_dataclass(kind)}
    return [name for name, kind in inner.items() if issubclass(kind, JobConfig) or _sections(kind)]


def _without(config_class: type[T], names: list[str]) -> tuple[type[T], T]:
    """The class, and its defaults, of which `--help` does not show these fields: they have hundreds of options."""
    import tyro

    kinds = typing.get_type_hints(config_class, include_extras=True)
    hidden = {name: Annotated[kinds[name], tyro.conf.Fixed, tyro.conf.Suppress] for name in names}
    own = {name: dataclasses.field(default_factory=kinds[name]) for name in names}
    made: Any = type(config_class.__name__, (config_class,), {"__annotations__": hidden, **own})
    made.__doc__ = config_class.__doc__
    made = dataclasses.dataclass(frozen=True, kw_only=True)(made)
    return made, made()


def from_yaml(config_class: type[T], path: Path) -> T:
    """Read `config_class` from a YAML file; fields that it leaves out keep their defaults."""
    try:
        with path.open(encoding="utf-8") as file:
            content = parse_yaml(file.read(MAX_YAML_BYTES + 1))
    except FileNotFoundError:
        raise UserError(f"There is no configuration file '{path}'; {shipped.remedy(path)}.") from None
    except MalformedError as error:  # before UnicodeDecodeError: both are ValueErrors
        raise UserError(f"{path} is not YAML that is read here: {error}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read the configuration file '{path}': {error}.") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold `name: value` lines, not {type(content).__name__}.")
    return _checked(config_class, content, str(path))


def replaced(config: T, values: Mapping[str, Any], where: str) -> T:
    """`config` with other values in the fields of these dotted names, checked like those of a file.

    Raises:
        UserError: a value that its field does not take; the text begins with `where`.
    """
    content = dataclasses.asdict(typing.cast(Any, config))
    for name, value in values.items():
        *groups, field = name.split(".")
        inner = content
        for group in groups:
            inner = inner[group]
        inner[field] = value
    return _checked(type(config), content, where)


def _checked(config_class: type[T], values: dict[str, Any], where: str) -> T:
    """Validate names, types and ranges; raise one UserError with all faults."""
    from pydantic import TypeAdapter, ValidationError

    faults = _unknown_keys(config_class, values, "")
    try:
        config = TypeAdapter(config_class).validate_python(values)
        if not faults:
            return config
    except ValidationError as error:
        for fault in error.errors():
            if fault["type"] == "unexpected_keyword_argument":
                continue  # reported above, with the nearest name
            name = ".".join(str(part)[:SHOWN] for part in fault["loc"])
            faults.append(f"{name}: {fault['msg'][:300]}, got {shown(fault['input'])}")
    except UserError as error:  # of a part's own checks, which may only follow from a misspelt key
        if not faults:
            raise
        faults.append(str(error).removesuffix("."))
    more = [f"and {len(faults) - MAX_FAULTS:,} more"] if len(faults) > MAX_FAULTS else []
    raise UserError(f"{where}: " + "; ".join([*faults[:MAX_FAULTS], *more]) + ".")


def _unknown_keys(config_class: Any, values: dict[str, Any], prefix: str) -> list[str]:
    known = typing.get_type_hints(config_class)
    faults = []
    for key, value in values.items():
        if key not in known:
            key = str(key)[:SHOWN]
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{prefix}{near[0]}'?" if near else f"known are {', '.join(known)}"
            faults.append(f"unknown key '{prefix}{key}' ({hint})")
        elif dataclasses.is_dataclass(known[key]) and isinstance(value, dict):
            faults += _unknown_keys(known[key], value, f"{prefix}{key}.")
    return faults


def require(config: object, *names: str) -> None:
    """Check that the named fields were given.

    Raises:
        UserError: lists all that are missing.
    """
    missing = [f"--{name.replace('_', '-')}" for name in names if getattr(config, name) == ""]
    if missing:
        raise UserError(f"Required and not given: {', '.join(missing)} (on the command line or in the YAML file).")


def plan_of(job: str, config: Any, inputs: Mapping[str, Any], run_only: Sequence[str] = ()) -> dict[str, Any]:
    """What decides the output of a run: the job, the options, and what lies at the places that the inputs name.

    Args:
        job: its name.
        config: its configuration.
        inputs: a digest of what was found, for every field of the type `Input` that is given, by its dotted name.
        run_only: fields that do not change the output, besides those of JobConfig.
    """
    forgotten = [name for name in named_inputs(config) if name not in inputs and name not in run_only]
    assert not forgotten, f"{job} has no digest of {', '.join(forgotten)}"
    options = {name: value for name, value in identity(config).items() if name not in run_only}
    return {"job": job, "config": options, "inputs": dict(inputs)}


def identity(config: Any) -> dict[str, Any]:
    """The options that decide what comes out: all but the fields of JobConfig and those of the type `Input`."""
    run_only = {field.name for field in dataclasses.fields(JobConfig)}
    options = dataclasses.asdict(config)
    for name in named_inputs(config, empty=True):
        *groups, field = name.split(".")
        inner = options
        for group in groups:
            inner = inner[group]
        del inner[field]
    return {key: value for key, value in options.items() if key not in run_only}


def named_inputs(config: Any, empty: bool = False) -> list[str]:
    """Dotted names of the fields of the type `Input`, here and in the parts; the empty ones only if asked for."""
    found = []
    for name, kind in typing.get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name, None)
        if kind == Input:
            found += [name] if value or empty else []
        elif dataclasses.is_dataclass(value):
            found += [f"{name}.{inner}" for inner in named_inputs(value, empty)]
    return found


def digest(value: Any) -> str:
    """SHA-256 (hexadecimal) of a JSON-like value, independent of key order."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def command_line() -> str:
    """The command as the user typed it, for manifests and reports; passwords in addresses are left out."""
    import shlex

    return redacted(f"{program(Path(sys.argv[0]).stem)} {shlex.join(sys.argv[1:])}".strip())
