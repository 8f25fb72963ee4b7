"""`python -m ray_jobs.models`: what a user types and reads."""

import argparse
import json
import subprocess
import sys

import pytest
import torch

from faceverify.errors import UserError
from faceverify.models import checkpoints, load_engine
from faceverify.models.card import card_path
from ray_jobs import models


@pytest.fixture
def run(capsys, cache_folder):
    def call(*argv):
        code = models.main([str(word) for word in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.mark.parametrize("command", [[], ["list"], ["fetch"], ["card"], ["convert"], ["show"]])
def test_help_shows_examples_and_loads_nothing(command):
    code = (
        "import sys; from ray_jobs import models\n"
        f"try: models.main({[*command, '--help']!r})\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "assert not {'torch', 'ray', 'onnxruntime', 'numpy', 'pydantic'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if command:
        assert f"python -m ray_jobs.models {command[0]}" in done.stdout.split("examples:")[1]


def test_list_names_every_model_with_its_licence(run):
    code, out, _ = run("list")
    assert code == 0
    for word in ("mobilefacenet_y1", "cvlface_adaface_ir101_webface12m", "non-commercial", "not fetched", "by hand"):
        assert word in out


def test_lightning_checkpoint_to_engine(run, tiny, faces, tmp_path):
    """The whole way of a checkpoint that cannot be trusted: refused, converted, described, run."""
    path, safe = tmp_path / "x.ckpt", tmp_path / "x.safetensors"
    tensors = {f"model.{k}": v for k, v in tiny.state_dict().items()}
    torch.save({"state_dict": tensors, "hyper_parameters": argparse.Namespace(a=1)}, path)
    describe = ("--colour", "BGR", "--mean", 127.5, "--std", 127.5)
    code, _, err = run("card", path, *describe)
    assert code == 2 and "models convert" in err and err.count("\n") == 1
    assert run("convert", path, safe)[0] == 0
    code, _, err = run("card", safe, "--colour", "RGB", *describe[2:])
    assert code == 2 and "weights take BGR" in err
    assert run("card", safe, *describe, "--licence", "mine")[0] == 0
    code, out, _ = run("show", safe)
    assert code == 0 and '"licence": "mine"' in out and '"architecture": "tiny"' in out
    assert load_engine(str(safe)).embed(faces).shape == (5, 32)


def test_fetch_without_a_published_hash_prints_the_computed_one(run, tmp_path, ir_weights):
    path = tmp_path / "r18.safetensors"
    checkpoints.save({f"model.{k}": v for k, v in ir_weights("ir_18").items()}, path)
    code, out, _ = run("fetch", "adaface_ir18_casia", "--from", path)
    assert code == 0 and "could not be verified" in out
    assert load_engine("adaface_ir18_casia").card.sha256 in out
    code, out, _ = run("show", "adaface_ir18_casia")
    assert '"colour": "BGR"' in out


def test_fetch_with_a_known_hash_verifies_it(run, shared_data, cache_folder):
    code, out, _ = run("fetch", "mobilefacenet_y1", "--from", shared_data / "models/mobilefacenet_y1.onnx")
    assert code == 0 and "SHA-256 verified" in out
    code, _, err = run("fetch", "mobilefacenet_y1", "--from", shared_data / "models/mobilefacenet_foamliu.pt")
    assert code == 2 and "another file" in err
    assert load_engine("mobilefacenet_y1").card.name == "mobilefacenet_y1"


def test_card_of_an_onnx_file(run, shared_data, tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes((shared_data / "models/mobilefacenet_y1.onnx").read_bytes())
    code, _, err = run("card", path, "--colour", "BGR", "--mean", 0, "--std", 1)
    assert code == 2 and "colour BGR, not RGB" in err
    assert run("card", path, "--colour", "RGB", "--mean", 0, "--std", 1)[0] == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["fetch", "nosuch"], "no published model 'nosuch'"),
        (["fetch", "mobilefacenet_y1", "--from", "none.onnx"], "There is no model 'none.onnx'"),
        (["show", "none.onnx"], "There is no model"),
        (["convert", "none.ckpt", "out.safetensors"], "none.ckpt cannot be converted"),
        (["card", "none.pt", "--colour", "RGB", "--mean", "1", "--std", "1"], "There is no model 'none.pt'"),
    ],
)
def test_mistakes_are_one_sentence_and_code_2(run, argv, said):
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert said in err and err.count("\n") == 1


def test_two_means_are_refused(run, tiny, tmp_path):
    checkpoints.save(tiny.state_dict(), tmp_path / "x.safetensors")
    code, _, err = run("card", tmp_path / "x.safetensors", "--colour", "RGB", "--mean", 1, 2, "--std", 1)
    assert code == 2 and "--mean has 2 numbers" in err


def test_an_unknown_network_needs_its_name(run, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.pt")
    code, _, err = run("card", tmp_path / "x.pt", "--colour", "RGB", "--mean", 1, "--std", 1)
    assert code == 2 and "--architecture and --dim" in err


def test_no_network_is_code_3(run, monkeypatch):
    import urllib.request

    def fails(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", fails)
    code, _, err = run("fetch", "cvlface_adaface_ir18_casia")
    assert code == 3 and "no route to host" in err and "--from FILE" in err and err.count("\n") == 1


def test_an_implausible_card_is_refused_however_it_was_written(run, tiny, faces, tmp_path):
    """By `card`, and when somebody wrote it by hand; with --force it is kept, and used."""
    path = tmp_path / "x.safetensors"
    checkpoints.save(tiny.state_dict(), path)
    given = ("card", path, "--colour", "RGB", "--mean", 0.485, 0.456, 0.406, "--std", 0.229, 0.224, 0.225)
    code, _, err = run(*given)
    assert code == 2 and "a grey pixel of 128 would become 556.8" in err and "--force" in err
    assert run(*given, "--force")[0] == 0
    assert load_engine(str(path)).embed(faces).shape == (5, 32)
    by_hand = json.loads(card_path(path).read_text())
    assert by_hand.pop("unusual_scale") is True
    card_path(path).write_text(json.dumps(by_hand))
    with pytest.raises(UserError, match=r"x\.safetensors\.card\.json has mean 0\.485.*556\.8"):
        load_engine(str(path))
