"""Published forms of weights: each loads strictly, and says what the model card gets wrong."""

import pytest
import torch
from safetensors.torch import save_file

from faceverify.errors import UserError
from faceverify.models import checkpoints
from faceverify.models.architectures import shapes_of
from ray_jobs import models


def prefixed(prefix, tensors):
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def classes(name, count=7):
    """A classifier's matrix, as MagFace, arcface_torch and FaceNet keep it."""
    return {name: torch.zeros(count, 512) if "logits" in name else torch.zeros(512, count)}


# How each program writes a network: from its tensors to what torch.save is given.
WRITERS = {
    "arcface_torch backbone.pth": ("arcface_r18", lambda t: t),
    "arcface_torch full state": (
        "arcface_r18",
        lambda t: {"epoch": 1, "global_step": 2, "state_dict_backbone": t, "state_dict_softmax_fc": classes("weight")},
    ),
    "arcface_torch of DDP": ("arcface_r18", lambda t: prefixed("module.", t)),
    "arcface_torch full state of DDP": ("arcface_r18", lambda t: {"state_dict_backbone": prefixed("module.", t)}),
    "cvlface model.pt": ("arcface_r18", lambda t: prefixed("net.", t)),
    "magface of DataParallel": (
        "magface_r18",
        lambda t: {
            "epoch": 25,
            "arch": "iresnet18",
            "state_dict": prefixed("features.module.", t) | classes("fc.weight"),
            "optimizer": {"state": {}},
        },
    ),
    "magface of DDP": (
        "magface_r18",
        lambda t: {"state_dict": prefixed("module.features.", t) | classes("module.fc.weight")},
    ),
    "magface bare": ("magface_r18", lambda t: t),
    "facenet vggface2": ("facenet", lambda t: t | classes("logits.weight", 8631) | {"logits.bias": torch.zeros(8631)}),
    "facenet casia": ("facenet", lambda t: t | classes("logits.weight", 10575) | {"logits.bias": torch.zeros(10575)}),
    "facenet bare": ("facenet", lambda t: t),
    "treb1en": ("treb1en_ir_se_50", lambda t: t),
    "adaface ir_se_50": (
        "ir_se_50",
        lambda t: {"state_dict": prefixed("model.", t) | {"head.kernel": torch.zeros(512, 3)}},
    ),
}


@pytest.fixture(scope="module")
def small(recipe):
    """Weights by architecture that differ from key to key, made once."""
    made = {}

    def make(architecture):
        if architecture not in made:
            shapes = shapes_of(architecture, 512)
            made[architecture] = {
                name: torch.full(shape, number / 512, dtype=torch.float16)
                if not name.endswith("num_batches_tracked")
                else torch.tensor(number)
                for number, (name, shape) in enumerate(shapes.items())
            }
        return made[architecture]

    return make


def write(name, small, folder):
    architecture, wrap = WRITERS[name]
    torch.save(wrap(small(architecture)), folder / "x.pth")
    return checkpoints.read(folder / "x.pth")


@pytest.mark.parametrize("name", WRITERS)
def test_every_published_form_loads_strictly(name, small, foreign_card, tmp_path):
    architecture = WRITERS[name][0]
    found = write(name, small, tmp_path)
    colour = "BGR" if name == "adaface ir_se_50" else foreign_card(architecture).colour
    state = checkpoints.load(found, foreign_card(architecture, colour=colour)).state_dict()
    expected = small(architecture)
    assert list(state) == list(expected)
    assert all(torch.equal(state[key], expected[key].to(state[key].dtype)) for key in expected)


def test_a_safetensors_file_with_cvlface_prefix_loads(small, foreign_card, tmp_path):
    save_file(prefixed("model.net.", small("arcface_r18")), tmp_path / "model.safetensors")
    found = checkpoints.read(tmp_path / "model.safetensors")
    assert checkpoints.identify(found) == ("arcface_r18", 512)
    state = checkpoints.load(found, foreign_card("arcface_r18")).state_dict()
    assert torch.equal(state["fc.weight"].half(), small("arcface_r18")["fc.weight"])


@pytest.mark.parametrize(
    ("name", "card", "said"),
    [
        ("magface of DDP", ("arcface_r18",), "weights take the network magface_r18, BGR, mean 0 and std 255, but its"),
        ("magface of DataParallel", ("magface_r18", "RGB"), "BGR, but its model card says RGB; .* --colour BGR"),
        ("magface of DDP", ("magface_r18", "BGR", 127.5), "says mean 127.5 and std 127.5; .* --mean 0 --std 255"),
        (
            "arcface_torch full state",
            ("magface_r18",),
            "take the network arcface_r18, RGB, .*--architecture arcface_r18",
        ),
        ("arcface_torch full state of DDP", ("arcface_r18", "BGR"), "take RGB, but its model card says BGR"),
        ("cvlface model.pt", ("magface_r18",), "cvlface container.* arcface_r18"),
        ("facenet vggface2", ("facenet", "BGR"), "facenet-pytorch container, whose weights take RGB"),
        ("facenet casia", ("facenet", "RGB", 127.5), "take mean 127.5 and std 128, .* says mean 127.5 and std 127.5"),
        ("adaface ir_se_50", ("ir_se_50",), "lightning container, whose weights take BGR"),
    ],
)
def test_a_card_that_contradicts_the_form_is_refused(name, card, said, small, foreign_card, tmp_path):
    architecture, *rest = card
    changes = dict(zip(("colour", "std"), rest, strict=False))
    if "std" in changes:
        changes = {"colour": changes["colour"], "mean": [127.5] * 3, "std": [changes["std"]] * 3}
    with pytest.raises(UserError, match=said):
        checkpoints.check(write(name, small, tmp_path), foreign_card(architecture, **changes))


@pytest.mark.parametrize("name", ["arcface_torch backbone.pth", "magface bare", "arcface_torch of DDP"])
def test_bare_keys_are_never_guessed(name, small, foreign_card, tmp_path):
    found = write(name, small, tmp_path)
    assert checkpoints.candidates(found) == [("arcface_r18", 512), ("magface_r18", 512)]
    with pytest.raises(UserError, match=r"fits arcface_r18 and magface_r18, .* --architecture"):
        checkpoints.identify(found)
    for architecture in ("arcface_r18", "magface_r18"):
        checkpoints.check(found, foreign_card(architecture))


@pytest.mark.parametrize("name", WRITERS)
def test_forms_that_say_it_are_recognised(name, small, tmp_path):
    architecture = WRITERS[name][0]
    found = checkpoints.candidates(write(name, small, tmp_path))
    bare = architecture.endswith("_r18") and name in (
        "arcface_torch backbone.pth",
        "magface bare",
        "arcface_torch of DDP",
    )
    assert found == ([("arcface_r18", 512), ("magface_r18", 512)] if bare else [(architecture, 512)])


def test_another_depth_and_another_ir_se_50_are_named(small, foreign_card, tmp_path):
    found = write("arcface_torch backbone.pth", small, tmp_path)
    with pytest.raises(UserError, match="its tensors are those of arcface_r18 or magface_r18 with 512 dimensions"):
        checkpoints.check(found, foreign_card("arcface_r50"))
    with pytest.raises(UserError, match="its tensors are those of treb1en_ir_se_50 with 512"):
        checkpoints.check(write("treb1en", small, tmp_path), foreign_card("ir_se_50"))


def test_a_card_of_another_size_is_refused(small, foreign_card, tmp_path):
    with pytest.raises(UserError, match=r"input_size is 112 112 on the model card .* takes pictures of 160x160"):
        checkpoints.check(write("facenet bare", small, tmp_path), foreign_card("facenet", input_size=[112, 112]))
    with pytest.raises(UserError, match="takes pictures of 112x112; write the card again with --input-size 112 112"):
        checkpoints.check(write("treb1en", small, tmp_path), foreign_card("treb1en_ir_se_50", input_size=[160, 160]))


def test_the_command_asks_which_twin_and_show_says_what_was_taken(small, tmp_path, capsys, cache_folder):
    path = tmp_path / "backbone.pth"
    torch.save(small("arcface_r18"), path)
    fed = ["--colour", "BGR", "--mean", "0", "--std", "255"]
    assert models.main(["card", str(path), *fed]) == 2
    assert "--architecture" in capsys.readouterr().err
    assert models.main(["card", str(path), *fed, "--architecture", "magface_r18"]) == 0
    capsys.readouterr()
    assert models.main(["show", str(path)]) == 0
    said = capsys.readouterr().out
    assert "taken for magface_r18, as its model card says: arcface_r18 has the same tensors" in said
