"""Every command block of README and docs runs, as it stands, in a small folder that looks like a user's.

Files have the names that the pages use, so nothing of a command is rewritten but the placeholders of INPUTS; SIZES adds
options that make a run small. A page goes on from what README's blocks made, as its readers do.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import stand_ins
from doc_commands import PAGES, ROOT, Command, blocks
from e2e.harness import Ended, Run
from weights_server import serving

from faceverify.models import registry
from faceverify.storage import open_location

pytestmark = pytest.mark.timeout(1800)  # some twenty jobs in one test: a safety limit for a busy machine

# Placeholders of the pages, and inputs that lie where a test cannot put them.
INPUTS = {
    "/data/faces": "people",
    "PHOTOS": "my_photos",
    "PAIRS": "pairs.csv",
    "MODEL": "mobilefacenet_y1.onnx",
    "NAME": "mobilefacenet_foamliu",
    "FILE": "mobilefacenet.pt",
    "FILE.ckpt": "mobilefacenet.pt",
    "OUT.safetensors": "converted.safetensors",
}
SHORT = ("--batches.max-steps", "2", "--validation.replicates", "0")
SIZES = {
    "clean": ("--threshold", "-0.9"),  # the network that stands in has learnt nothing: it knows nobody
    "fakes": ("--per-person", "2"),
    "forensic": (
        *("--batches.max-steps", "2", "--batches.size", "2", "--learning.steps", "2", "--validation.photos", "4"),
        *("--align.detect-side", str(stand_ins.PHOTO)),  # of LARGE photos: the detector knows no others
    ),
    "train": SHORT,
    "tune": (*SHORT, "--search.trials", "2", "--search.startup", "1", "--concurrent", "2"),
    "export": ("--no-half", "--max-pairs", "20"),
    "evaluate": ("--replicates", "20"),
    "pipeline": (
        *("--clean.threshold", "-0.9", "--fakes.per-person", "2", "--export.no-half", "--evaluate.replicates", "0"),
        *("--finetune.batches.max-steps", "2", "--finetune.validation.replicates", "0"),
    ),
    "review": ("--html", "page.html"),  # without it the page is served until Ctrl-C: tests/review/test_server.py
}
# Blocks that need what is not here; test_doc_commands.py (not of whole jobs) reads the command lines of all of them.
NOT_RUN = {
    "make": "sets up an environment",
    "source": "of the shell",
    "export": "of the shell",
    "ray": "needs a cloud or a job server",
    "pip": "downloads",
    "benchmarks.deepfake_protocol": "needs pictures of real people; tests/benchmarks/test_deepfake_protocol.py",
}
LARGE = 3  # times as large are the photos that a forensic network is trained on: it uses no small faces


def skipped(command: Command) -> str:
    """Why a command is not run; empty if it is."""
    if not command.is_job:
        return NOT_RUN[command.program]
    if any("s3://" in word for word in command.words):
        return "workers of the session's cluster do not have the keys of the local S3 server: see the dry run below"
    return ""


@pytest.fixture(scope="module")
def readers_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader of the pages brings: photos of people, lists of pairs, a recogniser, a detector."""
    home = tmp_path_factory.mktemp("reader")
    (home / "configs").symlink_to(ROOT / "configs")
    draw_people(home / "people", 10, 0)
    draw_people(home / "test", 4, 1)
    shutil.copytree(home / "people", home / "my_photos")
    enlarge(home / "people", home / "large_photos")
    for name, photo in zip("abc", sorted(home.glob("test/*/[!b]*.jpg")), strict=False):
        shutil.copy(photo, home / f"{name}.jpg")
    for name, folder in (("pairs.csv", "people"), ("new_pairs.csv", "people"), ("test/pairs.csv", "test")):
        names = [str(path.relative_to(home / folder)) for path in sorted((home / folder).glob("*/*.jpg"))]
        lines = [f"{a},{b},{int(a[:6] == b[:6])}" for a, b in zip(names, names[1:] + names[:1], strict=True)]
        lines += [f"{a},{b},{int(a[:6] == b[:6])}" for a, b in zip(names, names[5:] + names[:5], strict=True)]
        (home / name).write_text("\n".join(["photo_a,photo_b,label", *lines]) + "\n")
    published = stand_ins.write_mirror(home / "mirror")
    shutil.copyfile(published["mobilefacenet_foamliu"], home / "mobilefacenet.pt")
    card = json.loads((home / "mirror" / stand_ins.FACTS).read_text())["mobilefacenet_foamliu"]["card"]
    (home / "mobilefacenet.pt.card.json").write_text(json.dumps(card))
    shutil.copyfile(published["sface"], home / "mobilefacenet_y1.onnx")
    return home


@pytest.fixture(scope="module")
def mirror(readers_home: Path) -> Iterator[str]:
    """The address of a mirror that has the stand-ins, in place of the publishers' own."""
    with serving(readers_home / "mirror") as one:
        yield one.address


def enlarge(photos: Path, target: Path) -> None:
    """The same photos, LARGE times as wide and high."""
    for file in photos.glob("*/*.jpg"):
        (target / file.parent.name).mkdir(parents=True, exist_ok=True)
        if (picture := cv2.imread(str(file))) is not None:
            large = cv2.resize(picture, None, fx=LARGE, fy=LARGE, interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(target / file.parent.name / file.name), large)


def draw_people(root: Path, persons: int, seed: int) -> None:
    """`<person>/<n>.jpg`, four each, and one file that is no picture."""
    from faceverify.rendered import RenderedConfig, write
    from faceverify.storage import Location

    drawn = root.parent / f"drawn{seed}"
    config = RenderedConfig(
        persons=persons, photos_per_person=4, fakes_per_person=0, photo_size=stand_ins.PHOTO, difficulty=0.2, seed=seed
    )
    for row in write(config, Location(str(drawn))).photos.to_pylist():
        target = root / f"p{row['person'][-5:]}" / Path(row["photo"]).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(drawn / row["photo"], target)
    shutil.rmtree(drawn)
    (next(root.iterdir()) / "broken.jpg").write_bytes(b"no picture")


def test_the_detector_that_stands_in_finds_the_face(readers_home: Path) -> None:
    from faceverify.align import AlignConfig, build

    [weights] = (readers_home / "mirror" / "yunet").iterdir()
    aligner = build(AlignConfig(method="yunet", weights=str(weights)))
    photos = [
        cv2.imread(str(path)) for path in sorted(readers_home.glob("people/*/*.jpg")) if "broken" not in path.name
    ]
    faces = aligner.align(photos, [None] * len(photos))
    assert all(face.faces_found == 1 and face.image.shape == (112, 112, 3) for face in faces)


@pytest.fixture
def follow(
    run: Run, readers_home: Path, mirror: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Path, Command], Ended | None]:
    """follow(home, command): what a reader does who types it in `home`; None if it is one of NOT_RUN.

    The cache is the reader's own, and empty at first; what fills it is what the pages say.
    """
    known = stand_ins.entries_with(readers_home / "mirror" / stand_ins.FACTS)

    def one(home: Path, command: Command, anywhere: bool = False) -> Ended | None:
        if skipped(command) and not anywhere:
            return None
        monkeypatch.chdir(home)
        monkeypatch.setenv("FACEVERIFY_CACHE", str(home / "cache"))
        monkeypatch.setenv("FACEVERIFY_MIRROR", mirror)
        monkeypatch.setattr(registry, "entries", lambda: known)
        inputs = INPUTS | {"PHOTOS": "large_photos"} if command.program == "forensic" else INPUTS
        arguments = [inputs.get(word, word) for word in command.arguments]
        given = "--html" in arguments or "best.yaml" in " ".join(arguments[:1])
        more = () if given else SIZES.get(command.program, ())
        ended = run(command.program, *arguments, *more)
        done = (0, 4, 5) if command.program == "verify" else (0,)  # the network that stands in may refuse anybody
        assert ended.code in done, f"{command}\n{ended.out}{ended.err}"
        if command.into:
            (home / command.into).write_text(ended.out)
        if command.program == "review":
            decide(home / "runs" / "clean")
        return ended

    return one


def decide(clean: Path) -> None:
    """What a reviewer does: one photo that was held for review stays."""
    from faceverify.cleaning.decisions_file import ReviewDecision, write_decisions
    from faceverify.storage import Location

    held = [row for row in pq.read_table(clean / "decisions").to_pylist() if row["decision"] == "review"]
    digest = json.loads((clean / "manifest.json").read_text())["digest"]
    one = ReviewDecision(held[0]["photo"], held[0]["person"], "kept", None, "2026-01-01T00:00:00", "anna", digest)
    write_decisions(Location(str(clean / "review.json")), "anna", digest, [one])


README = [command for block in blocks("README.md") for command in block]
LONG = {"pipeline"}  # in `make thorough`; here its checks alone


@pytest.fixture
def after_readme(follow: Callable, readers_home: Path) -> Path:
    """The reader's folder after README's blocks, which run once for all tests of this file."""
    done = readers_home / "done"
    if not (readers_home / "runs").exists():
        for command in README:
            follow(readers_home, command)
        done.touch()
    assert done.exists(), "README's blocks did not run: see the test that came first"
    return readers_home


PROMISED = {
    "job",
    "version",
    "created",
    "command",
    "config",
    "plan",
    "digest",
    "rows_in",
    "rows_out",
    "rejects",
    "seconds",
}
WITHOUT_NETWORK = {"ingest", "align", "fakes", "pairs"}


def check_manifests(home: Path) -> set[str]:
    """Every job's manifest holds what docs/formats.md promises; returns the jobs."""
    jobs = set()
    for path in home.glob("**/manifest.json"):
        facts = json.loads(path.read_text())
        jobs.add(facts["job"])
        assert facts.keys() >= PROMISED, (path, PROMISED - facts.keys())
        assert facts["job"] in WITHOUT_NETWORK or facts.get("model") or facts["models"], path
        assert facts["seconds"], path
    return jobs


def test_readme(after_readme: Path) -> None:
    runs = after_readme / "runs"
    decided = pq.read_table(runs / "clean_reviewed" / "decisions").to_pylist()
    assert [row["decided_by"] for row in decided if row["reason"] == "reviewer"] == ["anna"]
    kinds = pq.read_table(runs / "pairs" / "pairs")["kind"].value_counts().to_pylist()
    assert {row["values"] for row in kinds} == {"genuine", "impostor", "deepfake"}
    jobs = {command.program for command in README if not skipped(command)} - {"review", "models", "config", "verify"}
    assert check_manifests(runs) == jobs and len(jobs) == 10


def whole(command: Command) -> Command:
    """A command that the page shortens (`...`), with what README gives the same program, into a folder of its own."""
    if not command.shortened:
        return command
    first = next(one for one in README if one.program == command.program)
    own = {word for word in command.words if word.startswith("--")}
    words = list(first.words)
    for option in own & set(words):
        del words[words.index(option) : words.index(option) + 2]
    if "--resume" not in own:
        words[words.index("--out") + 1] = f"runs/{command.program}_again"
    return Command(command.page, (*words, *(word for word in command.arguments if not word.startswith("configs/"))))


PAGES_WITH_BLOCKS = [page for page in PAGES if page != "README.md" and any(blocks(page))]


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS)
def test_page(page: str, follow: Callable, after_readme: Path, tmp_path: Path) -> None:
    # In the same place: a photo that is elsewhere is another photo.
    home, kept = after_readme, tmp_path / "kept"
    home.rename(kept)
    shutil.copytree(kept, home, symlinks=True)
    try:
        read(page, follow, home)
    finally:
        shutil.rmtree(home)
        kept.rename(home)


def read(page: str, follow: Callable, home: Path) -> None:
    """Do what a page says, in its order; what README has made is done again only behind something that was."""
    made_again = False
    for command in [whole(command) for block in blocks(page) for command in block]:
        if command.program in LONG:
            follow(home, replace(command, words=(*command.words, "--dry-run")))
            continue
        of_readme = (essence(command) in map(essence, README) and not made_again) or "--resume" in command.words
        if "--out" in command.words and not of_readme:
            shutil.rmtree(home / command.words[command.words.index("--out") + 1], ignore_errors=True)
            made_again = True
        follow(home, command)
    check_manifests(home / "runs")


def essence(command: Command) -> tuple[str, ...]:
    """A command without what changes nothing: how the program is called, and a file that holds the defaults."""
    given = command.arguments
    defaults = given and given[0].endswith(".yaml") and not given[0].startswith("runs/")
    return (command.program, *given[int(bool(defaults)) :])


@pytest.mark.thorough
@pytest.mark.parametrize("page", [page for page in PAGES if any(c.program in LONG for b in blocks(page) for c in b)])
def test_page_with_a_long_command(page: str, follow: Callable, readers_home: Path) -> None:
    for command in [command for block in blocks(page) for command in block if command.program in LONG]:
        ended = follow(readers_home, command)
        assert ended.out.splitlines()[-1].startswith("Report: ")
    check_manifests(readers_home / "runs" / "recipe")


@pytest.mark.parametrize(
    "command",
    [c for page in PAGES for block in blocks(page) for c in block if c.is_job and "s3://" in " ".join(c.words)],
    ids=str,
)
def test_commands_on_s3_are_checked(command: Command, follow: Callable, readers_home: Path, bucket: str) -> None:
    """Their dry run, on an S3 server of this machine that holds what they name."""
    words = [re.sub("^s3://(bucket|BUCKET)/", f"s3://{bucket}/", word) for word in command.words]
    for option, value in pairwise(words):
        target = open_location(value) if value.startswith("s3://") and option != "--out" else None
        if target is None:
            continue
        if option == "--photos":
            for photo in (readers_home / "my_photos").glob("*/*.jpg"):
                (target / str(photo.relative_to(readers_home / "my_photos"))).write_bytes(photo.read_bytes())
        elif option == "--pairs":
            sink = pa.BufferOutputStream()
            pq.write_table(pacsv.read_csv(readers_home / "pairs.csv"), sink)
            target.write_bytes(sink.getvalue().to_pybytes())
        else:
            name = "sface" if option == "--model" else "yunet"
            [weights] = (readers_home / "mirror" / name).iterdir()
            target.write_bytes(weights.read_bytes())
    follow(readers_home, Command(command.page, ("faceverify", "models", "fetch", "yunet", "sface")))
    ended = follow(readers_home, Command(command.page, (*words, "--dry-run")), anywhere=True)
    assert "Dry run: all that can be checked beforehand is in order" in ended.out
