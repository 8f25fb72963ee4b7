"""The configurations that come with the package: all of the repository's, by name, and told where one is missing."""

import sys
from pathlib import Path

import pytest

from faceverify import config, program, shipped
from faceverify.errors import UserError
from ray_jobs import __main__ as launcher
from ray_jobs.score import ScoreConfig

ROOT = Path(__file__).parent.parent


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """typed("config", "score"): exit code, stdout and stderr of the script `faceverify`, started in this process."""
    monkeypatch.setattr(program, "_launcher", program._launcher)

    def one(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/local/bin/faceverify", *words])
        code = launcher.main()
        return code, *capsys.readouterr()

    return one


def test_every_configuration_of_the_repository_is_there() -> None:
    assert set(shipped.names()) == {path.stem for path in (ROOT / "configs").glob("*.yaml")} | {"demo"}
    for name in shipped.names():
        assert 5 < len(shipped.headline(name)) < 160 and not shipped.headline(name).endswith((":", "."))


def test_they_are_listed_with_a_line_each(typed) -> None:
    code, out, _ = typed("config")
    assert code == 0
    for name in shipped.names():
        assert f"  {name:<10}{shipped.headline(name)}\n" in out


def test_one_is_printed_to_edit_and_taken_by_its_job(typed, tmp_path: Path) -> None:
    code, out, _ = typed("config", "score")
    assert code == 0 and out == (ROOT / "configs" / "score.yaml").read_text()
    (tmp_path / "score.yaml").write_text(out)
    assert config.from_yaml(ScoreConfig, tmp_path / "score.yaml") == ScoreConfig()
    assert typed("config", "demo")[1] == (ROOT / "configs" / "demo" / "demo.yaml").read_text()


@pytest.mark.parametrize("name", ["nix", "../pyproject", "kuberay/rayjob", "demo/demo"])
def test_no_other_file_is_printed(name: str, typed) -> None:
    code, out, err = typed("config", name)
    assert (code, out) == (2, "") and f"no configuration '{name}'" in err and "score" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("configs/score.yaml", "`faceverify config score > score.yaml` writes one to edit"),
        ("finetune.yaml", "`faceverify config finetune > finetune.yaml`"),
        ("mine.yaml", "`faceverify config` lists"),
    ],
)
def test_a_configuration_that_is_not_there_is_told_how_to_get(
    path: str, remedy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        config.load(ScoreConfig, [path], prog="score", description="")
    assert f"'{path}'" in str(caught.value) and remedy in str(caught.value)


def test_a_command_is_quoted_as_it_was_started(typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/ray_jobs/score.py", "--out", "a b"])
    assert config.command_line() == "python -m ray_jobs.score --out 'a b'"
    typed("config")
    monkeypatch.setattr(sys, "argv", ["/somewhere/ray_jobs/score.py", "--out", "a b"])
    assert config.command_line() == "faceverify score --out 'a b'"
    assert program.program("score") == "faceverify score"
