"""`faceverify models`: what a user types and reads."""

import argparse
import importlib
import json
import subprocess
import sys

import pytest
import torch

from faceverify.align import AlignConfig
from faceverify.errors import UserError
from faceverify.models import checkpoints, load_engine, registry
from faceverify.models.card import card_path
from ray_jobs import models
from ray_jobs.embed import EmbedConfig
from ray_jobs.engine.fetch_weights import CLASSES, named_by, told
from ray_jobs.engine.wanted_weights import wanted


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
        assert f"faceverify models {command[0]}" in done.stdout.split("examples:")[1]


def test_list_tells_every_network_whether_commercial_use_is_allowed_and_fits_a_terminal(run):
    code, out, _ = run("list")
    assert code == 0 and max(map(len, out.splitlines())) <= 120
    rows = {line.split()[0]: line for line in out.splitlines() if line.startswith("  ")}
    for entry in registry.entries().values():
        row = rows[entry.name]
        assert f" {entry.commercial} " in row and row.endswith(entry.licence)
        assert ("not fetched" if entry.fetchable else "by hand") in row
    marked = {name for name, row in rows.items() if row.split()[1] == "*"}
    assert marked == {"yunet", "scrfd_2.5g", "retinaface_mobilenet0.25", "mtcnn", "dfa_mobilenet", "sface"}


def test_list_and_show_tell_what_has_been_fetched(run, shared_data):
    assert run("show", "yunet_2026may")[1].endswith("in the cache: no\n")
    assert run("fetch", "yunet_2026may", "--from", shared_data / "models/face_detection_yunet_2026may.onnx")[0] == 0
    row = next(line for line in run("list")[1].splitlines() if line.startswith("  yunet_2026may"))
    assert " fetched " in row and "not fetched" not in row
    assert run("show", "yunet_2026may")[1].endswith("yunet_2026may/face_detection_yunet_2026may.onnx\n")


def test_show_tells_a_threshold_that_others_published(run):
    code, out, _ = run("show", "sface")
    assert code == 0 and "threshold 0.363: published by OpenCV's model zoo" in out and "not measured here" in out


@pytest.fixture
def configs(tmp_path, monkeypatch):
    """A folder of a user's, and downloads off: what is named first is what would be fetched first."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEVERIFY_OFFLINE", "1")
    for name, text in (
        ("score.yaml", ""),
        ("score_scrfd.yaml", "align: {method: scrfd}"),
        ("align_none.yaml", "align: {method: none}"),
        ("finetune.yaml", "start: mobilefacenet_foamliu"),
        ("clean.yaml", ""),
        ("fakes.yaml", ""),
        ("mine.yaml", ""),
    ):
        (tmp_path / name).write_text(text)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["score.yaml"], ["yunet", "sface"]),
        (["score.yaml", "--model", "w600k_r50", "--align.weights", "yunet_2026may"], ["yunet_2026may", "w600k_r50"]),
        (["score.yaml", "--model", "own.onnx", "--align.weights", "own_detector.onnx"], []),
        (["score_scrfd.yaml"], ["scrfd_2.5g", "sface"]),
        (["score_scrfd.yaml", "--align.weights", "scrfd_10g"], ["scrfd_10g", "sface"]),
        (["score.yaml", "--embeddings", "runs/embeddings"], []),
        (["align_none.yaml"], []),
        (["finetune.yaml"], ["mobilefacenet_foamliu"]),
        (["clean.yaml"], []),
        (["fakes.yaml"], []),
        (["fakes.yaml", "--generators", "self_blend,inswapper"], ["inswapper_128", "w600k_r50"]),
        (["fakes.yaml", "--generators", "ghost"], ["ghost_unet_2blocks", "ghost_backbone", "2d106det"]),
        (["fakes.yaml", "--generators", "simswap_256"], ["simswap_256", "crossface_simswap", "w600k_r50"]),
    ],
)
def test_what_a_configuration_needs(arguments, names, configs, run):
    assert named_by(arguments) == names
    code, out, err = run("fetch", "--for", *arguments)
    assert (code, "needs no published network" in out) == ((2, False) if names else (0, True))
    assert not names or f"fetch {names[0]} --from FILE" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a configuration file"),
        (["mine.yaml"], "call it by its job, such as score_mine.yaml"),
        (["score.yaml", "--align.weights", "sface"], "'sface' is a recogniser"),
        (["score_none.yaml"], "no configuration file 'score_none.yaml'"),
    ],
)
def test_a_configuration_that_does_not_tell_is_refused(arguments, said, configs, run):
    code, _, err = run("fetch", "--for", *arguments)
    assert code == 2 and said in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("job", "config", "names"),
    [
        ("score", {"photos": "p"}, ["yunet", "sface"]),
        ("align", {"align": AlignConfig(method="mtcnn")}, ["mtcnn"]),
        ("embed", {}, ["sface"]),
        ("train", {"start": "mobilefacenet_foamliu"}, ["mobilefacenet_foamliu"]),
        ("train", {"start": "runs/train"}, []),
        ("export", {"checkpoint": "mobilefacenet_foamliu"}, ["mobilefacenet_foamliu"]),
        ("pipeline", {}, ["yunet"]),
        ("pipeline", {"embed": EmbedConfig(model="sface")}, ["yunet", "sface"]),
    ],
)
def test_what_each_job_needs(job, config, names):
    config_class = getattr(importlib.import_module(f"ray_jobs.{job}"), CLASSES[job])
    assert wanted(job, config_class(**config)) == names


@pytest.mark.parametrize(
    ("job", "options"),
    [
        ("score", ["--photos", "none", "--pairs", "none.csv", "--out", "runs"]),
        ("embed", ["--faces", "none", "--out", "runs"]),
        ("align", ["--photos", "none", "--out", "runs"]),
    ],
)
def test_missing_weights_are_told_before_anything_else(job, options, cache_folder, capsys, monkeypatch):
    """Before the other inputs, of which there is none either."""
    names = {"score": "yunet sface", "embed": "sface", "align": "yunet"}[job]
    monkeypatch.setattr("sys.argv", [job, *options])
    assert importlib.import_module(f"ray_jobs.{job}").main() == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"not in the cache {cache_folder}: run `faceverify models fetch {names}`." in err


@pytest.mark.parametrize(
    ("done", "whole", "line"),
    [(12_345_678, 38_700_000, "12.3 of 38.7 MB, 32%"), (1_500_000, None, "1.5 MB")],
)
def test_the_line_of_progress(done, whole, line):
    assert told(done, whole) == line


def test_a_detector_is_no_model_and_says_where_it_belongs(cache_folder):
    with pytest.raises(UserError, match=r"'yunet' is a detector, which `--align\.weights` takes"):
        load_engine("yunet")


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
    assert code == 0 and "none is published: that of the first file is kept" in out
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
    monkeypatch.setenv("FACEVERIFY_MIRROR", "http://127.0.0.1:9")  # nobody listens on the discard port
    code, _, err = run("fetch", "cvlface_adaface_ir18_casia")
    assert code == 3 and "Connection refused" in err and "--from FILE" in err and err.count("\n") == 1


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
