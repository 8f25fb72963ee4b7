"""Every command that the pages give is one that its program takes; each option that a message names exists."""

import argparse
import ast
import dataclasses
import importlib
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from doc_commands import HEADS, JOBS, PAGES, ROOT, Command, blocks, mentioned, told

from faceverify import shipped
from faceverify.config import JobConfig, load

# Not run by any test, each with the reason; that the file or target they name exists is looked at.
ELSEWHERE = {
    "ray": "needs a cloud, or a job server; `ray job submit` is run by tests/e2e/test_submit.py",
    "docker": "builds and pushes an image: no daemon here",
    "kubectl": "needs a Kubernetes cluster; the manifests are checked against KubeRay's schema",
    "make": "sets up an environment; what the targets run is tests, and the demo of tests/e2e/test_demo.py",
    "pip": "downloads; that the wheel is enough shows tests/e2e/test_wheel.py",
    "hf": "downloads; what it puts where is checked by tests/fakes/diffusion",
    "source": "of the shell",
    "cd": "of the shell",
    "export": "of the shell",
}
CONFIGS = {
    "ingest": "IngestConfig",
    "align": "AlignJobConfig",
    "embed": "EmbedConfig",
    "clean": "CleanConfig",
    "fakes": "FakesConfig",
    "forensic": "ForensicConfig",
    "pairs": "PairsConfig",
    "train": "TrainConfig",
    "tune": "TuneConfig",
    "export": "ExportConfig",
    "score": "ScoreConfig",
    "all_pairs": "AllPairsConfig",
    "compare": "CompareConfig",
    "attack": "AttackConfig",
    "evaluate": "EvaluateConfig",
    "review": "ReviewConfig",
    "verify": "VerifyConfig",
    "pipeline": "RecipeConfig",
    "demo": "RecipeConfig",
}
IN_BLOCKS = [command for page in PAGES for block in blocks(page) for command in block]
ALL = [
    *IN_BLOCKS,
    *(command for page in PAGES for command in mentioned(page)),
    *(command for file in [*HEADS, *JOBS] for command in told(file)),
]


def config_class(job: str) -> type:
    return getattr(importlib.import_module(f"ray_jobs.{job}"), CONFIGS[job])


def options_of(kind: type, prefix: str = "") -> Iterator[str]:
    """Every option of a configuration as the command line spells it; `--no-` where it is a yes or no."""
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name = f"{prefix}{field.name.replace('_', '-')}"
        if dataclasses.is_dataclass(hints[field.name]):
            yield from options_of(hints[field.name], f"{name}.")
        else:
            yield f"--{name}"
            if hints[field.name] is bool:
                parent, dot, last = name.rpartition(".")
                yield f"--{parent}{dot}no-{last}"


def options_of_models() -> set[str]:
    from ray_jobs.models import _parser

    found: set[str] = {"--help"}
    waiting = [_parser()]
    while waiting:
        for action in waiting.pop()._actions:
            found |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                waiting += action.choices.values()
    return found


# Configurations that a command before has written.
WRITTEN = ("runs/tune/best.yaml", *(command.into for command in ALL if command.into))
OPTIONS = {job: {"--help", *options_of(config_class(job))} for job in CONFIGS}
OPTIONS |= {"models": options_of_models(), "config": {"--help"}}


def test_the_pages_have_commands() -> None:
    """The extraction finds what a reader sees: an empty list would make the other tests pass."""
    texts = "".join((ROOT / page).read_text() for page in PAGES)
    assert len(IN_BLOCKS) >= texts.count("\npython -m ") + texts.count("\nfaceverify ") >= 40
    assert {command.program for command in IN_BLOCKS} >= {*CONFIGS, "models", "config", "ray", "make"} - {"demo"}
    assert all(told(head) for head in HEADS)


@pytest.mark.parametrize("command", ALL, ids=str)
def test_it_is_taken(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    if command.is_job:
        taken(command)
    elif command.words[:2] == ("python", "-m"):
        assert (ROOT / f"{command.program.replace('.', '/')}.py").is_file()
    else:
        assert command.program in ELSEWHERE, "a new program: run it in a test, or say why not"
        files = [word for word in command.words[1:] if word.endswith((".yaml", ".yml"))]
        assert all((ROOT / file).is_file() for file in files if "/" in file or file == "cluster.yaml")
        if command.program == "make":
            assert re.search(rf"^{command.words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def taken(command: Command) -> None:
    """The options exist, and their values are of the right type: the program's own parser reads the command."""
    named = {word.partition("=")[0] for word in command.words if word.startswith("--")}
    assert named <= OPTIONS[command.program], named - OPTIONS[command.program]
    arguments = command.arguments
    if command.program == "models":
        from ray_jobs.models import _parser

        if not command.shortened:
            _parser().parse_args(arguments)
        return
    if arguments == ["--help"]:
        return
    if command.program == "config":
        assert len(arguments) <= 1 and set(arguments) <= {*shipped.names(), "NAME", "JOB"}
        return
    if command.program == "review" and arguments and not arguments[-1].endswith(".yaml"):
        at = int(arguments[0].endswith(".yaml"))
        arguments = [*arguments[:at], "--table", *arguments[at:]]
    if arguments and arguments[0] in WRITTEN:
        arguments = arguments[1:]
    if command.program == "verify":
        from ray_jobs.verify import ordered

        arguments = ordered(arguments)
    load(config_class(command.program), arguments, prog=command.program, description="")


# -- options that messages and help texts name --------------------------------------------------------------------

NAMED = re.compile(r"--[a-z][a-z0-9]*(?:[-.][a-z0-9]+)*(?![a-z0-9]|\.[A-Z])")  # `--augment.KIND` is a pattern
# Of Ray's own programs, and where any option is meant.
FOREIGN = {"--working-dir", "--dashboard-agent-listen-port", "--submission-id", "--runtime-env-json"}
FOREIGN |= {"--option", "--dotted.option", "--dotted.override"}
MODULES = sorted(path for folder in ("faceverify", "ray_jobs") for path in (ROOT / folder).rglob("*.py"))


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every text in a module, f-strings in one piece with {} for what is filled in."""
    inner: set[int] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in ast.walk(node)} - {id(node)}
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value


def test_every_option_that_a_message_names_exists() -> None:
    known = set().union(*OPTIONS.values()) | FOREIGN
    unknown = [
        f"{path.relative_to(ROOT)}:{line} names {option}"
        for path in MODULES
        for line, text in texts_of(path)
        for option in NAMED.findall(text)
        if option not in known and "{}" not in text[text.index(option) : text.index(option) + len(option) + 3]
    ]
    assert not unknown


@pytest.mark.parametrize("job", sorted(CONFIGS))
def test_a_job_names_its_own_options(job: str) -> None:
    """In its own module, a command of another program apart: `python -m ray_jobs.pairs --faces ...`."""
    path = ROOT / "ray_jobs" / f"{job}.py"
    others = [
        f"{path.name}:{line} names {option}"
        for line, text in texts_of(path)
        for sentence in re.split(r"(?<=[.;])\s", re.sub(r"(python -m ray_jobs\.|faceverify )\w+.*", "", text))
        for option in NAMED.findall(sentence)
        if option not in OPTIONS[job] | FOREIGN and not re.search(r"\b(align|pairs|clean|fakes|score)\b `?--", sentence)
    ]
    assert not others


def test_every_option_that_a_page_names_exists() -> None:
    known = set().union(*OPTIONS.values()) | FOREIGN
    of_programs = re.compile(r"pip-audit[^`]*|ray [^`]*|ssh [^`]*|docker [^`]*|kubectl [^`]*|hf download [^`]*")
    unknown = {
        f"{page} names {option}"
        for page in PAGES
        for option in NAMED.findall(of_programs.sub("", (ROOT / page).read_text()))
        if option not in known
    }
    assert not unknown


def test_every_configuration_and_file_of_the_pages_exists() -> None:
    """configs/... in commands, and links from page to page."""
    for command in ALL:
        for word in command.arguments:
            if word.startswith("configs/"):
                assert (ROOT / word).is_file(), f"{command}"
    for page in PAGES:
        home = (ROOT / page).parent
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text()):
            assert "://" in link or (home / link).exists(), f"{page} links to {link}"


def test_every_piece_of_code_that_a_page_names_exists() -> None:
    """Paths from the root, programs of benchmarks (`benchmarks.scale`); files called `mine` are the reader's."""
    named = re.compile(r"`((?:faceverify|ray_jobs|tests|benchmarks|configs)/[\w./-]+)`")
    for page in [*PAGES, "benchmarks/README.md"]:
        text = (ROOT / page).read_text()
        paths = named.findall(text) + [f"benchmarks/{name}.py" for name in re.findall(r"\bbenchmarks\.(\w+)`", text)]
        assert not [path for path in paths if not (ROOT / path).exists() and "mine." not in path], page


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)", index)
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")} - {"README.md"}
    assert pages <= set(links) and "docs/README.md" in (ROOT / "README.md").read_text()
    assert len(links) == len(set(links))


def test_run_options_are_of_every_job() -> None:
    """What the pages say of all jobs (`--dry-run`, `--overwrite`, `--workers`) is true of each that makes a table."""
    common = set(options_of(JobConfig))
    assert all(common <= OPTIONS[job] for job in CONFIGS if job not in ("review", "verify"))
