"""The six outputs against those of the published code; gradients from the crop to every weight; ONNX."""

import hashlib
import logging
import warnings

import numpy as np
import onnxruntime
import pytest
import torch

from faceverify.align.dfa_module import DfaOutput, DifferentiableAligner, network_input
from faceverify.align.weights import state_dict

ARCHITECTURES = ("mobile0.25", "resnet50")
FLAT = [name for name in DfaOutput._fields if name != "aligned_x"]


def compare(found, want, case):
    assert sorted(want[f"{case}_none"]) == sorted(name for name in FLAT if getattr(found, name) is None)
    for name in FLAT:
        if (value := getattr(found, name)) is not None:
            np.testing.assert_allclose(value[0], want[f"{case}_{name}"], atol=1e-5, err_msg=f"{case} {name}")
    crop = want[f"{case}_aligned_x_q14"] / 16384
    np.testing.assert_allclose(found.aligned_x[0], crop, atol=2e-3, err_msg=case)


@pytest.mark.parametrize("case", ["112", "160", "250", "200x140", "112pad"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_published_outputs(dfa_golden, dfa_picture, published_dfa, architecture, case):
    ratio = 0.215 if case == "112pad" else None
    found = published_dfa(architecture)(dfa_picture(case.removesuffix("pad")), ratio)
    compare(found, dfa_golden(architecture), case)


def test_published_preprocessing(dfa_golden, dfa_picture):
    want = dfa_golden("mobile0.25")["112_preprocessed_q14"] / 16384
    np.testing.assert_allclose(network_input(dfa_picture("112"))[0], want, atol=1e-4)


def test_published_outputs_on_a_photo(shared_data, golden_photos, dfa_tensors):
    """Real detector weights on a real photo; the published crop shows a person, so it is not among the golden files."""
    file = shared_data.parent / "golden" / "dfa_mobile_real.npz"
    if not file.exists():
        pytest.skip(f"needs {file.name}")
    want = dict(np.load(file))
    data = (shared_data / "models" / "pytorch_retinaface_mobilenet0.25_Final.pth").read_bytes()
    assert hashlib.sha256(data).hexdigest() == str(want["detector_weights_sha256"])
    tensors = dfa_tensors("mobile0.25") | state_dict(data)
    tensors["body.stage1.0.0.weight"] = tensors["body.stage1.0.0.weight"] * 127.5
    aligner = DifferentiableAligner("mobile0.25").eval().requires_grad_(False)
    aligner.net.load_state_dict(tensors)
    photo = golden_photos([str(want["photo_file"])])[str(want["photo_file"])]
    x = torch.from_numpy(photo).permute(2, 0, 1)[None] / 127.5 - 1
    compare(aligner(x), want, "photo")
    raw = aligner.net(network_input(x).flip(1))
    np.testing.assert_allclose(raw.boxes[0], want["photo_bbox_regressions"], atol=1e-3)
    np.testing.assert_allclose(raw.logits[0].softmax(-1), want["photo_class_softmax"], atol=1e-3)
    np.testing.assert_allclose(raw.landmarks[0], want["photo_landmark_regressions"], atol=1e-3)


def test_together_as_one_by_one(dfa_picture, published_dfa):
    aligner = published_dfa("mobile0.25")
    pictures = torch.cat([network_input(dfa_picture(case)) for case in ("112", "160", "250", "200x140")])
    together = aligner(pictures)
    for i in range(len(pictures)):
        for name, one, many in zip(DfaOutput._fields, aligner(pictures[i : i + 1]), together, strict=True):
            tolerance = 1e-3 if name == "aligned_x" else 1e-5
            torch.testing.assert_close(many[i], one[0], rtol=0, atol=tolerance, msg=name)


def test_the_gradient_of_the_crop_reaches_picture_and_weights(dfa_tensors, dfa_picture):
    """Along the gradient the crop changes as fast as the gradient says, by central differences in float64."""
    aligner = DifferentiableAligner("mobile0.25").eval()
    aligner.net.load_state_dict(dfa_tensors("mobile0.25"))
    picture = dfa_picture("112").double()
    values = {"picture": picture, **dict(aligner.double().named_parameters())}
    values = {name: value.detach().clone().requires_grad_() for name, value in values.items()}

    def loss(values):
        weights = {name: value for name, value in values.items() if name != "picture"}
        crop = torch.func.functional_call(aligner, weights, (values["picture"],)).aligned_x
        return (crop * torch.linspace(-1, 1, crop.numel(), dtype=crop.dtype).reshape(crop.shape)).mean()

    gradients = dict(zip(values, torch.autograd.grad(loss(values), list(values.values())), strict=True))
    # Softmax over the priors takes no notice of a number that is added to all of them.
    deaf = [name for name, gradient in gradients.items() if not gradient.abs().max() > 1e-12]
    assert deaf == ["net.aggregator.2.mlp_channels.fc2.bias", "net.aggregator.3.bias"]
    for part in ("picture", "net.body", "net.LandmarkHead", "net.aggregator"):
        own = {name: gradient for name, gradient in gradients.items() if name.startswith(part)}
        slope = torch.sqrt(sum(gradient.square().sum() for gradient in own.values()))
        step = {name: 1e-7 * own[name] / slope if name in own else 0 for name in values}
        with torch.no_grad():
            ahead, behind = (loss({name: v + sign * step[name] for name, v in values.items()}) for sign in (1, -1))
        torch.testing.assert_close((ahead - behind) / 2e-7, slope, rtol=2e-3, atol=0, msg=part)


def test_onnx_gives_the_same(published_dfa, dfa_picture, recipe, tmp_path):
    aligner = published_dfa("mobile0.25")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        program = torch.onnx.export(
            aligner,
            (torch.zeros(2, 3, 112, 112),),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
            input_names=["pictures"],
            output_names=list(DfaOutput._fields),
            opset_version=20,
            verbose=False,
        )
    program.save(tmp_path / "dfa.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "dfa.onnx", providers=["CPUExecutionProvider"])
    pictures = torch.from_numpy(np.stack([recipe.image(seed, 112, 112) for seed in (21, 5, 6)]))
    pictures = pictures.permute(0, 3, 1, 2) / 127.5 - 1
    for batch in (pictures, pictures[:1]):
        outputs = session.run(None, {"pictures": batch.numpy()})
        for name, got, want in zip(DfaOutput._fields, outputs, aligner(batch), strict=True):
            np.testing.assert_allclose(got, want, atol=2e-3 if name == "aligned_x" else 1e-5, err_msg=name)
