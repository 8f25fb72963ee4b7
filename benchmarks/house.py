"""The code counted at two revisions: files, lines, import circles, names of several classes, duplicated blocks.

Read, not run: `git archive` of each revision, and Python's own parser and tokeniser. Nothing is imported.

- Lines are all lines of .py files; the median is of lines per file.
- A circle is a set of our own modules that reach each other by imports. *Top*: by imports that run when a module is
  loaded. *Lazy*: those inside functions too. *Types*: those for type checkers alone too. The number in brackets is how
  many modules are in circles. `from package import name` leads to the package, or to the module of that name.
- A class name counts if it stands for several classes at the top of modules.
- A duplicated block is six lines of code in a row that stand at several places, each place after the first counted
  once and without overlap; comments, docstrings, blank lines, imports and indentation are left out.
"""

import ast
import io
import statistics
import subprocess
import tarfile
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

from benchmarks.harness import ROOT, Report, parser

TREES = ("faceverify", "ray_jobs", "benchmarks", "tests")
BLOCK = 6
BEFORE = "95106dc"
Imports = Iterator[tuple[str, str]]  # kind (top, lazy, types) and the module's dotted name


def unpack(revision: str, folder: Path) -> None:
    """Write the files of a revision into a folder."""
    command = ["git", "archive", revision, *TREES]
    packed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")


def sources(folder: Path) -> dict[str, Path]:
    """Every module by its dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(tree: ast.AST, known: set[str], kind: str = "top") -> Imports:
    """What a module imports of ours."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((kind, alias.name) for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from ((kind, name) for name in names & known)
            if names - known:
                yield kind, node.module
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(ast.Module(node.body, []), known, "types")
            yield from imports(ast.Module(node.orelse, []), known, kind)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports(node, known, "lazy" if kind == "top" else kind)
        else:
            yield from imports(node, known, kind)


def circles(modules: dict[str, Path], kinds: set[str]) -> list[set[str]]:
    """The sets of modules that reach each other by imports of these kinds."""
    graph = nx.DiGraph()
    for name, path in modules.items():
        found = imports(ast.parse(path.read_bytes()), set(modules))
        graph.add_edges_from((name, other) for kind, other in found if kind in kinds and other != name)
    return [some for some in nx.strongly_connected_components(graph) if len(some) > 1]


def shared_names(modules: dict[str, Path]) -> list[str]:
    """The names of classes that stand for several."""
    trees = (ast.parse(path.read_bytes()) for path in modules.values())
    names = Counter(node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef))
    return sorted(name for name, count in names.items() if count > 1)


def code_lines(path: Path) -> list[str]:
    """The lines of a file without what says nothing: comments, docstrings, blanks, imports, indentation."""
    source = path.read_text()
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(ast.Constant(str())) | ast.Import() | ast.ImportFrom():
                left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines: dict[int, list[str]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.string.strip() and token.type != tokenize.COMMENT and token.start[0] not in left_out:
            lines.setdefault(token.start[0], []).append(token.string)
    return [" ".join(words) for _, words in sorted(lines.items())]


def duplicates(modules: dict[str, Path]) -> int:
    """How many blocks of BLOCK lines repeat one that stands before them."""
    seen: set[tuple[str, ...]] = set()
    count = 0
    for path in modules.values():
        lines, free, own = code_lines(path), 0, []
        for at in range(len(lines) - BLOCK + 1):
            block = tuple(lines[at : at + BLOCK])
            if block in seen and at >= free:
                count, free = count + 1, at + BLOCK
            own.append(block)
            if at >= BLOCK:  # a block may repeat one of its own file that it does not overlap
                seen.add(own[at - BLOCK])
        seen |= set(own)
    return count


def measured(revision: str) -> dict[tuple[str, str], str]:
    """The figures of a revision by what is counted and where."""
    found: dict[tuple[str, str], str] = {}
    with tempfile.TemporaryDirectory() as folder:
        unpack(revision, Path(folder))
        every = sources(Path(folder))
        trees = {tree: {n: p for n, p in every.items() if n.split(".")[0] == tree} for tree in TREES}
        for tree, modules in {**trees, "all": every}.items():
            lines = [len(path.read_text().splitlines()) for path in modules.values()]
            found["files", tree] = f"{len(lines):,}"
            found["lines", tree] = f"{sum(lines):,}"
            found["median lines of a file", tree] = f"{statistics.median(lines):.0f}"
            found["class names that stand for several", tree] = str(len(shared_names(modules)))
            found["duplicated blocks of six lines", tree] = str(duplicates(modules))
        code = trees["faceverify"] | trees["ray_jobs"] | trees["benchmarks"]
        for name, kinds in {"top": {"top"}, "lazy": {"top", "lazy"}, "types": {"top", "lazy", "types"}}.items():
            some = circles(code, kinds)
            found[f"import circles, {name}", "all but tests"] = f"{len(some)} ({sum(map(len, some))})"
    return found


def lazy_circles(revision: str) -> list[list[str]]:
    """The modules of each circle of a revision, tests apart, imports for types alone apart."""
    with tempfile.TemporaryDirectory() as folder:
        unpack(revision, Path(folder))
        code = {name: path for name, path in sources(Path(folder)).items() if not name.startswith("tests")}
        return sorted(sorted(some) for some in circles(code, {"top", "lazy"}))


def named(revision: str) -> str:
    """The short name of a revision."""
    command = ["git", "rev-parse", "--short", revision]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--before", default=BEFORE, help="revision to compare with")
    options.add_argument("--after", default="HEAD", help="revision that is compared")
    chosen = options.parse_args()
    before, after = measured(chosen.before), measured(chosen.after)
    claim = "The code counted before and after the move to one engine layer on Ray's own engines. No target."
    columns = ("what", "where", f"before ({named(chosen.before)})", f"after ({named(chosen.after)})")
    report = Report("house", claim, columns)
    for what, where in sorted(before, key=lambda key: list(dict.fromkeys(what for what, _ in before)).index(key[0])):
        report.add(what, where, before[what, where], after[what, where])
    report.notes += [f"A circle after, with lazy imports: {', '.join(some)}." for some in lazy_circles(chosen.after)]
    report.notes.append("What is counted, and how, says `benchmarks/house.py`. In brackets: modules in circles.")
    report.write(chosen.results)


if __name__ == "__main__":
    main()
