"""No module of faceverify imports itself by way of others, not even by an import inside a function."""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx as nx

import faceverify

ROOT = Path(faceverify.__file__).parent


def imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """All import statements but those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        yield from imports(node)


def names(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """The modules that a statement may mean: as a sub-module, and where that is none as an attribute's home."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, alias.name) for alias in node.names)
    else:
        assert node.level == 0, "imports are absolute"
        yield from ((f"{node.module}.{alias.name}", str(node.module)) for alias in node.names)


def test_no_import_circles():
    files = {}
    for path in ROOT.rglob("*.py"):
        parts = ["faceverify", *path.relative_to(ROOT).with_suffix("").parts]
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph = nx.DiGraph()
    for module, path in files.items():
        for statement in imports(ast.parse(path.read_text(encoding="utf-8"))):
            for full, home in names(statement):
                target = full if full in files else home
                if target in files and target != module:
                    graph.add_edge(module, target)
    assert graph.number_of_edges() > len(files), "the imports were found"
    assert [sorted(circle) for circle in nx.strongly_connected_components(graph) if len(circle) > 1] == []
