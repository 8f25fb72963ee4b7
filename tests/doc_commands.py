"""The commands that the pages give: of README, docs, the heads of configs and the jobs' own docstrings."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
HEADS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").glob("*.yaml"))
JOBS = sorted(f"ray_jobs/{path.name}" for path in (ROOT / "ray_jobs").glob("*.py"))
_FENCE = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STARTS = ("python -m ", "faceverify ")
_ANY_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_PROGRAM = ("python", "-m")
_SCRIPT = "faceverify"


@dataclass(frozen=True)
class Command:
    """One command line.

    page: where it stands; words: as the shell would split it, without comments.
    """

    page: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        """`score` for `python -m ray_jobs.score`, `benchmarks.scale`, else the first word."""
        if self.words[:2] == _PROGRAM:
            return self.words[2].removeprefix("ray_jobs.")
        return self.words[1] if self.words[0] == _SCRIPT else self.words[0]

    @property
    def is_job(self) -> bool:
        return self.words[0] == _SCRIPT or (self._is_module and self.words[2].startswith("ray_jobs."))

    @property
    def _is_module(self) -> bool:
        return self.words[:2] == _PROGRAM

    @property
    def arguments(self) -> list[str]:
        """What follows the program; `...` of a shortened command and `> FILE` are left out."""
        words = self.words[3 if self._is_module else 2 if self.words[0] == _SCRIPT else 1 :]
        end = words.index(">") if ">" in words else len(words)
        return [word for word in words[:end] if word != "..."]

    @property
    def into(self) -> str:
        """The file that its output goes to; empty if it goes to the terminal."""
        return self.words[self.words.index(">") + 1] if ">" in self.words else ""

    @property
    def shortened(self) -> bool:
        return "..." in self.words

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def _split(page: str, text: str) -> list[Command]:
    """The commands of a block of shell; `a; b` are two, and what `ray job submit ... --` is given is one more."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
        lexer.whitespace_split, lexer.commenters = True, "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word != ";":
                words.append(word)
            elif words:
                found.append(Command(page, tuple(words)))
                words = []
    return found + [Command(page, one.words[one.words.index("--") + 1 :]) for one in found if "--" in one.words]


def blocks(page: str) -> list[list[Command]]:
    """The commands of each ```bash block of a page."""
    return [_split(page, block) for block in _FENCE.findall((ROOT / page).read_text())]


def mentioned(page: str) -> list[Command]:
    """The commands in the running text of a page that begin with `python -m` or `faceverify`."""
    text = _ANY_FENCE.sub("", (ROOT / page).read_text())
    return [c for span in _SPAN.findall(text) if span.startswith(_STARTS) for c in _split(page, span)]


def told(file: str) -> list[Command]:
    """The commands in the comments of a configuration, or in the docstring of a job."""
    text = re.sub(r"\\\n#?\s*", " ", (ROOT / file).read_text())
    lines = re.findall(r"^(?:#   )?((?:python -m|faceverify) .*)$", text, re.MULTILINE)
    return [command for line in lines for command in _split(file, line)]
