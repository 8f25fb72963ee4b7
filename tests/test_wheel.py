"""What is installed: the wheel holds the data that the package reads, and its types serve who uses it."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from doc_commands import ROOT

RIGHT = """
import numpy as np
from faceverify import Embeddings, Verification, Verifier

def same(verifier: Verifier, a: str, b: np.ndarray) -> tuple[float | None, bool | None]:
    result: Verification = verifier.verify(a, b)
    return result.similarity, result.accepted

def gallery(verifier: Verifier, paths: list[str]) -> np.ndarray:
    embeddings: Embeddings = verifier.embed(paths)
    names: list[str] = [face.photo for face in embeddings.faces if face.ok]
    print(names, embeddings.faces[0].faces_found)
    return verifier.compare(embeddings)

same(Verifier("sface", "yunet", policy="largest", threshold=0.3), "a.jpg", np.zeros((9, 9, 3), np.uint8))
"""
# Each line is one mistake.
WRONG = """
from faceverify import Verifier
verifier = Verifier("sface")
Verifier("sface", "yunett")
Verifier("sface", policy="both")
verifier.verify("a.jpg")
verifier.verify("a.jpg", 3)
number: float = verifier.verify("a.jpg", "b.jpg").similarity
verifier.verify("a.jpg", "b.jpg").similarty
verifier.verify("a.jpg", "b.jpg").status = "ok"
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The content of the wheel, as `pip install` would lay it down."""
    home = tmp_path_factory.mktemp("wheel")
    for name in ("faceverify", "ray_jobs", "pyproject.toml", "README.md"):
        source = ROOT / name
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, home / name, ignore=skip) if source.is_dir() else shutil.copy(source, home)
    program = "from setuptools import build_meta; print(build_meta.build_wheel('dist'))"
    subprocess.run([sys.executable, "-c", program], cwd=home, check=True, capture_output=True, timeout=600)
    (wheel,) = (home / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(home / "site")
    return home / "site"


def test_the_wheel_holds_every_file_that_is_read(installed: Path) -> None:
    """Whatever lies in the package and is no program."""
    data = {str(path.relative_to(ROOT)) for path in (ROOT / "faceverify").rglob("*") if path.is_file()}
    data = {path for path in data if "__pycache__" not in path and not path.endswith(".py")}
    assert {"faceverify/py.typed", "faceverify/report/page.html.j2"} <= data
    assert [path for path in sorted(data) if not (installed / path).is_file()] == []


def test_its_types_serve_who_uses_it(installed: Path, tmp_path: Path) -> None:
    def faults(program: str) -> list[int]:
        (tmp_path / "program.py").write_text(program)
        (tmp_path / "pyrefly.toml").touch()  # without one only the gravest faults are told
        found = [sys.executable, "-m", "pyrefly", "check", "program.py", "--output-format", "min-text"]
        where = ["--search-path", str(tmp_path), "--site-package-path", str(installed)]
        where += ["--site-package-path", str(Path(pytest.__file__).parent.parent)]
        done = subprocess.run([*found, *where], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode in (0, 1), done.stderr
        return [int(line) for line in re.findall(r"program\.py:(\d+):", done.stdout)]

    assert faults(RIGHT) == []
    assert sorted(set(faults(WRONG))) == list(range(4, 4 + 7))
