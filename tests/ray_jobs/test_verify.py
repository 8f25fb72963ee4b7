"""`faceverify verify`: what is printed, the exit codes, the picture of the faces, where photos may stand."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stand_ins

from faceverify import Verifier
from faceverify.images import decode
from ray_jobs import verify
from ray_jobs.verify import ordered

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("verify")
    stand_ins.write_embedder(home / "net.onnx")
    stand_ins.write_photos(home)
    (home / "notes.txt").write_bytes(b"no picture")
    return home


@pytest.fixture
def run(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """run(*words) in the folder of the photos -> exit code, output, errors."""

    def one(*words: object) -> tuple[int, str, str]:
        monkeypatch.chdir(home)
        monkeypatch.setattr(
            sys, "argv", ["verify.py", *map(str, words), "--model", "net.onnx", "--align.method", "none"]
        )
        code = verify.main()
        return code, *capsys.readouterr()

    return one


def test_a_table_of_all_pairs(run: Run, home: Path) -> None:
    similarity = Verifier(home / "net.onnx", "none").verify(home / "0_0.png", home / "0_1.png").similarity
    code, out, err = run("0_0.png", "0_1.png", "notes.txt", "--threshold", 0.2)
    lines = out.splitlines()
    assert (code, err) == (verify.UNDECIDED, "")
    assert lines[0].split() == ["photo", "photo", "similarity", "decision"]
    assert lines[1].split()[:4] == ["0_0.png", "0_1.png", f"{similarity:.4f}", "accepted"]
    assert [line.split()[:4] for line in lines[2:4]] == [
        ["0_0.png", "notes.txt", "-", "not_an_image:"],
        ["0_1.png", "notes.txt", "-", "not_an_image:"],
    ]
    assert "Threshold: 0.2000, your own" in out and "Model: stand_in, faces by none" in out
    assert lines[-1].startswith("notes.txt: not_an_image, ")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["0_0.png", "0_1.png", "--threshold", "-1"], 0),
        (["0_0.png", "0_1.png", "--threshold=1"], verify.REFUSED),
        (["0_0.png", "0_1.png", "notes.txt", "--threshold", "1"], verify.REFUSED),
        (["0_0.png", "0_1.png", "notes.txt", "--threshold", "-1"], verify.UNDECIDED),
        (["0_0.png", "notes.txt", "--threshold", "-1"], verify.UNDECIDED),
        (["0_0.png", "0_1.png"], verify.UNDECIDED),
    ],
)
def test_only_accepted_pairs_end_with_0(words: list[str], code: int, run: Run) -> None:
    """As of other programs that verify: a script that asks no more must not take a refusal for a success."""
    assert run(*words)[0] == code


def test_json_holds_everything(run: Run, home: Path) -> None:
    verifier = Verifier(home / "net.onnx", "none", threshold=0.2)
    _, out, _ = run("0_0.png", "1_0.png", "0_1.png", "--json", "--threshold", "0.2")
    facts = json.loads(out)
    told = [(pair["photo_a"], pair["photo_b"], pair["similarity"]) for pair in facts["pairs"]]
    want = verifier.verify_all([home / name for name in ("0_0.png", "1_0.png", "0_1.png")])
    names = ["0_0.png", "1_0.png", "0_1.png"]
    pairs = [(names[0], names[1]), (names[0], names[2]), (names[1], names[2])]
    assert told == [(*pair, one.similarity) for pair, one in zip(pairs, want, strict=True)]
    assert [pair["accepted"] for pair in facts["pairs"]] == [one.accepted for one in want]
    assert {pair["forensic"] for pair in facts["pairs"]} == {None}
    assert facts["threshold"] == {"value": 0.2, "source": "own", "calibration": None, "publisher": ""}
    assert [photo["status"] for photo in facts["photos"]] == ["ok"] * 3
    assert facts["model"]["digest"] == verifier.card.digest and facts["crop"]["aligner"] == "none"


def test_the_faces_as_a_picture(run: Run, home: Path, tmp_path: Path) -> None:
    names = ["0_0.png", "notes.txt", *["1_0.png"] * 7]
    _, out, _ = run(*names, "--crops", tmp_path / "faces.png")
    assert f"Faces: {tmp_path / 'faces.png'}" in out
    picture = decode((tmp_path / "faces.png").read_bytes())
    assert picture.shape == (2 * 112, 8 * 112, 3)
    tiles = picture.reshape(2, 112, 8, 112, 3).swapaxes(1, 2).reshape(16, 112, 112, 3)
    assert np.array_equal(tiles[0], stand_ins.draw(0, 0)) and np.array_equal(tiles[8], stand_ins.draw(1, 0))
    assert (tiles[1] == 128).all() and (tiles[9:] == 128).all()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["0_0.png"], "1 photo given: name two or more"),
        ([], "0 photos given"),
        (["0_0.png", "nobody.png"], "'nobody.png' is no photo: there is no such file"),
        (["0_0.png", "0_1.png", "--crops", "faces.jpg"], "faces.jpg"),
        (["0_0.png", "0_1.png", "--threshold", "2"], "threshold is 2.0"),
        (["0_0.png", "0_1.png", "--calibration", "none.json"], "none.json"),
        (["0_0.png", "0_1.png", "--threshold", "0", "--calibration", "none.json"], "none.json"),
    ],
)
def test_mistakes_end_with_2_and_a_sentence(words: list[str], said: str, run: Run) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "") and err.startswith("verify: ") and said in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "want"),
    [
        ("a b", "-- a b"),
        ("a b --model m", "--model m -- a b"),
        ("--model m a b", "--model m -- a b"),
        ("a --json b --model m c", "--json --model m -- a b c"),
        ("--no-json --model=m a", "--no-json --model=m -- a"),
        ("a --threshold -0.1 b", "--threshold -0.1 -- a b"),
        ("my.yaml a b --json", "my.yaml --json -- a b"),
        ("a -- -b --json", "-- a -b --json"),
        ("--help", "--help"),
        ("a --model", "--model -- a"),
        ("", ""),
    ],
)
def test_photos_may_stand_anywhere(words: str, want: str) -> None:
    assert ordered(words.split()) == want.split()


def test_no_ray_and_no_pytorch(home: Path) -> None:
    words = ["verify", "0_0.png", "0_1.png", "--model", "net.onnx", "--align.method", "none", "--threshold", "-1"]
    program = (
        f"import sys; sys.argv = {['faceverify', *words]!r}\n"
        "from ray_jobs.__main__ import main\n"
        "assert main() == 0\n"
        "print('LOADED', sorted({'torch', 'ray', 'pandas', 'scipy', 'boto3', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=home, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0 and done.stdout.endswith("LOADED []\n"), done.stdout + done.stderr
