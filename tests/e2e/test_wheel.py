"""The wheel alone is enough: installed into a folder of its own, and run where there is no clone."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import stand_ins
from doc_commands import ROOT, Command, blocks
from e2e.harness import People
from weights_server import serving

PARTS = ("faceverify", "ray_jobs", "configs", "pyproject.toml", "README.md")
Typed = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of an earlier build is in it."""
    copy = tmp_path_factory.mktemp("source")
    for name in PARTS:
        whole = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        more = {"symlinks": True, "ignore": shutil.ignore_patterns("__pycache__")} if (ROOT / name).is_dir() else {}
        whole(ROOT / name, copy / name, **more)
    pip("wheel", "--no-build-isolation", "--wheel-dir", str(copy / "made"), str(copy))
    [made] = (copy / "made").glob("*.whl")
    return made


def pip(command: str, *options: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check", "--no-index", "--no-deps")
    done = subprocess.run([sys.executable, "-m", "pip", command, *quiet, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that it is installed into; what it depends on is that of the tests."""
    target = tmp_path_factory.mktemp("installed")
    pip("install", "--target", str(target), str(wheel))
    return target


@pytest.fixture
def typed(installed: Path, tmp_path: Path) -> Typed:
    """typed("score", "--help"): what `faceverify score --help` does in an empty folder."""

    def one(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(installed / "bin" / "faceverify"), *words]
        paths = [environment.pop("PYTHONPATH", ""), str(installed)]
        env = os.environ | environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=600)

    return one


def test_it_holds_every_configuration_and_page(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [*(ROOT / "configs").glob("*.yaml"), ROOT / "configs/demo/demo.yaml"]
    assert {f"faceverify/{path.relative_to(ROOT)}" for path in wanted} <= names
    for folder, patterns in (("faceverify", ("*.py", "*.j2", "*.css", "*.js", "*.html")), ("ray_jobs", ("*.py",))):
        for path in (path for pattern in patterns for path in (ROOT / folder).rglob(pattern)):
            assert str(path.relative_to(ROOT)) in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "docs/"))]


def test_it_runs_from_an_empty_folder(typed: Typed, installed: Path, tmp_path: Path) -> None:
    shown = typed("--help")
    assert shown.returncode == 0 and "  score     photos + pairs" in shown.stdout
    shown = typed("config")
    assert shown.returncode == 0 and "  score     Score pairs of photos\n" in shown.stdout
    written = typed("config", "score")
    assert written.stdout == (ROOT / "configs" / "score.yaml").read_text()
    (tmp_path / "score.yaml").write_text(written.stdout)
    shown = typed("score", "score.yaml", "--help")
    assert shown.returncode == 0 and "Usage: faceverify score [CONFIG.yaml]" in shown.stdout
    ended = typed("score", "configs/score.yaml")
    assert ended.returncode == 2 and "`faceverify config score > score.yaml`" in ended.stderr
    ended = typed("score", "score.yaml", "--photos", ".", "--pairs", "p.csv", "--out", "o", FACEVERIFY_CACHE="cache")
    assert ended.returncode == 2 and "run `faceverify models fetch yunet sface`" in ended.stderr
    code = "import faceverify, ray_jobs; print(faceverify.__file__, ray_jobs.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(installed)}, cwd=tmp_path, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    assert all(place.startswith(str(installed)) for place in found.stdout.split()), "the tests ran the clone's code"


def own_photos() -> list[Command]:
    """README's way to one's own photos."""
    return next(block for block in blocks("README.md") if block[0].words[:3] == ("faceverify", "models", "fetch"))


def test_the_readmes_way_to_ones_own_photos(typed: Typed, cluster: object, people: People, tmp_path: Path) -> None:
    """Word for word, with an empty cache and a mirror; networks stand in for those that cannot be had here."""
    import ray

    (tmp_path / "my_photos").symlink_to(people.root)
    pairs = pq.read_table(people.pairs).select(["photo_a", "photo_b", "label"])
    for name in ("pairs.csv", "new_pairs.csv"):
        pacsv.write_csv(pairs, tmp_path / name)
    for name, photo in zip("ab", pairs.to_pylist()[0].values(), strict=False):
        (tmp_path / f"{name}.jpg").write_bytes((people.root / photo).read_bytes())
    stand_ins.write_mirror(tmp_path / "mirror")
    hook = tmp_path / "hook"  # is run when an interpreter starts
    hook.mkdir()
    place = tmp_path / "mirror" / stand_ins.FACTS
    (hook / "sitecustomize.py").write_text(f"import stand_ins\nstand_ins.install({str(place)!r})\n")
    environment = {
        "FACEVERIFY_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(hook), str(ROOT / "tests")]),
        "RAY_ADDRESS": ray.get_runtime_context().gcs_address,
    }
    with serving(tmp_path / "mirror") as mirror:
        environment["FACEVERIFY_MIRROR"] = mirror.address
        for command in own_photos():
            ended = typed(command.program, *command.arguments, **environment)
            done = (0, 4) if command.program == "verify" else (0,)  # the network that stands in may refuse anybody
            assert ended.returncode in done, f"{command}\n{ended.stdout}{ended.stderr}"
    scores = pq.read_table(tmp_path / "runs" / "new" / "scores")
    assert scores.num_rows == pairs.num_rows and scores["accepted"].null_count < pairs.num_rows
    manifest = json.loads((tmp_path / "runs" / "scores" / "manifest.json").read_text())
    assert manifest["command"].startswith("faceverify score --photos my_photos")
    crops = pq.read_table(tmp_path / "runs" / "scores" / "embeddings")["crop"].unique().to_pylist()
    assert manifest["model"]["name"] == "sface"
    assert [json.loads(crop)["aligner"].split("-")[0] for crop in crops] == ["yunet"]
