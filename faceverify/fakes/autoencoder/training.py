"""Training the autoencoders: a few minutes on two cores, the same networks for the same photos, steps and seed.

The code and its linear decoder are found in closed form, which keeps the person's likeness however short the training
is. The deep part learns this: a photo of a person, brought onto the landmarks of another photo of the same person, is
to become that other photo, whose light and expression come through the narrow code of hosts. Persons with one photo,
and most of the others' too, learn to restore a photo that was moved and whose colours were changed.

Shape letters: N photos, B faces of a step, S pixels a side.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from faceverify.errors import BadData, UserError
from faceverify.fakes import FaceInput, Trained
from faceverify.fakes.autoencoder.crops import cut_face, face_onto
from faceverify.fakes.autoencoder.network import BLOCK, CODE, DECODERS, FORMAT, SIZES, Autoencoders
from faceverify.fakes.blending import to_bytes
from faceverify.fakes.checks import check_face

THREADS = 2  # always: sums in another order round otherwise, and the networks would not be the same
_STORED = 144  # pixels a side of the faces that are kept in memory
_BATCH = 8
_RATE = 2e-3
_SHARES = (0.5, 0.8, 1.0)  # of steps at each size, added up: large faces take longer
_OTHER_PHOTO = 0.3  # of the pairs: two photos of one person
_FITTED = 192  # faces of each size for the closed form
_TOLD = 25  # steps between two words on how far it is


@dataclass(frozen=True, eq=False)
class Faces:
    """What is learnt from.

    Args:
        crops: [N, 144, 144, 3] uint8 RGB.
        landmarks: [N, 5, 2] in the crops' pixels.
        persons: [N] whose, ascending.
    """

    crops: np.ndarray
    landmarks: np.ndarray
    persons: np.ndarray


def train(faces: Iterable[tuple[int, FaceInput]], steps: int, seed: int, gpu: bool) -> Iterator[Trained | bytes]:
    """Train for a number of steps: a `faceverify.fakes.Trainer`.

    Raises:
        UserError: none of the faces can be used.
    """
    kept = gather(faces)
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True, warn_only=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        networks = Autoencoders()
    fit_linear(networks, fitted_faces(kept, seed))
    device = torch.device("cuda" if gpu and torch.cuda.is_available() else "cpu")
    networks = networks.to(device)
    learnt = [
        parameter for name, parameter in networks.named_parameters() if not name.startswith(("encoder.", "linear."))
    ]
    optimiser = torch.optim.Adam(learnt, _RATE, betas=(0.9, 0.99))
    losses: list[float] = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / steps))
        start, goal, way = batch(kept, seed, step)
        x, y = as_tensor(start, device), as_tensor(goal, device)
        loss = loss_of(networks(x, y, way), y)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimiser.step()
        losses.append(loss.item())
        if len(losses) == _TOLD or step + 1 == steps:
            yield Trained(step + 1, float(np.mean(losses)))
            losses = []
    yield as_file(networks, {"steps": steps, "seed": seed, "photos": len(kept.crops)})


def gather(faces: Iterable[tuple[int, FaceInput]]) -> Faces:
    """The crops of all faces that can be used.

    Raises:
        UserError: there are none.
    """
    crops, landmarks, persons = [], [], []
    for person, face in faces:
        try:
            check_face(face, "source")
        except BadData:
            continue  # its fakes are rejected with this reason
        crop, points = cut_face(face.image, face.landmarks, _STORED)
        crops.append(crop)
        landmarks.append(points)
        persons.append(person)
    if not crops:
        raise UserError("photos: no photo could be read that autoencoder_swap can learn from; make fakes without it.")
    return Faces(np.stack(crops), np.stack(landmarks), np.array(persons))


def batch(faces: Faces, seed: int, step: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Faces to start from, the faces to become, both uint8 [B, S, S, 3], and the decoder that learns in this step."""
    rng = np.random.default_rng([seed, step])
    size = SIZES[int(np.searchsorted(_SHARES, rng.random()))]
    pairs = [draw_pair(faces, size, rng) for _ in range(_BATCH)]
    return np.stack([one for one, _ in pairs]), np.stack([other for _, other in pairs]), DECODERS[step % len(DECODERS)]


def draw_pair(faces: Faces, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A face to start from and the one to become: both uint8 [size, size, 3]."""
    one = other = int(rng.integers(len(faces.crops)))
    low, high = np.searchsorted(faces.persons, [faces.persons[one], faces.persons[one] + 1]).tolist()
    if high - low > 1 and rng.random() < _OTHER_PHOTO:
        other = low + (one - low + int(rng.integers(1, high - low))) % (high - low)
    goal, points = cut_face(faces.crops[one], faces.landmarks[one], size)
    onto = points + rng.normal(0, 0.01 * size, (5, 2))
    start = face_onto(faces.crops[other], faces.landmarks[other], onto, size, rng.uniform(0.2, 1.0))[0]
    if other == one:
        start = recoloured(start, rng)
    if rng.random() < 0.5:
        start, goal = start[:, ::-1], goal[:, ::-1]
    return start, goal


def recoloured(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Colours, brightness and the direction of light changed at random: uint8 [S, S, 3], as given."""
    across = np.linspace(-1, 1, len(face))
    down, right = rng.uniform(-0.3, 0.3, 2)
    light = 1 + down * across[:, None] + right * across[None]
    gain = rng.uniform(0.7, 1.4) * rng.uniform(0.87, 1.14, 3)
    return to_bytes(face * (light[..., None] * gain) + rng.uniform(-15, 15))


def as_tensor(faces: np.ndarray, device: torch.device) -> Tensor:
    """uint8 [B, S, S, 3] -> float32 [B, 3, S, S] in 0..1."""
    pixels = torch.from_numpy(np.ascontiguousarray(faces)).to(device)
    return pixels.permute(0, 3, 1, 2).float().div(255).contiguous(memory_format=torch.channels_last)


def loss_of(made: Tensor, goal: Tensor) -> Tensor:
    """Mean absolute difference at three scales."""
    loss = (made - goal).abs().mean()
    for _ in range(2):
        made, goal = functional.avg_pool2d(made, 2), functional.avg_pool2d(goal, 2)
        loss = loss + (made - goal).abs().mean()
    return loss


def fitted_faces(faces: Faces, seed: int) -> list[Tensor]:
    """Faces of each size, drawn at random, for `fit_linear`."""
    count = min(_FITTED, len(faces.crops))
    some = np.sort(np.random.default_rng([seed, 1 << 40]).choice(len(faces.crops), count, replace=False))
    cut = [np.stack([cut_face(faces.crops[i], faces.landmarks[i], size)[0] for i in some]) for size in SIZES]
    return [as_tensor(crops, torch.device("cpu")) for crops in cut]


@torch.no_grad()
def fit_linear(networks: Autoencoders, faces: Sequence[Tensor]) -> None:
    """Set the code to the principal components of blocks of 8x8 pixels, and the linear decoder by least squares.

    Args:
        networks: whose `encoder` and `linear` are set.
        faces: batches [B, 3, S, S] in 0..1.
    """
    blocks = torch.cat([_columns(functional.unfold(one - 0.5, BLOCK, stride=BLOCK)) for one in faces])
    _, vectors = torch.linalg.eigh(blocks.T @ blocks)
    basis = vectors.flip(1)[:, :CODE].T
    spread = (blocks @ basis.T).std(0).clamp_min(1e-3)
    networks.encoder.weight.copy_((basis / spread[:, None]).view(CODE, 3, BLOCK, BLOCK))
    square, product = torch.zeros(9 * CODE, 9 * CODE).double(), torch.zeros(9 * CODE, 3 * BLOCK**2).double()
    for one in faces:
        code = functional.pad(networks.encoder(one - 0.5), (1, 1, 1, 1), mode="replicate")
        around = _columns(functional.unfold(code, 3))
        square += around.T @ around
        product += around.T @ _columns(functional.pixel_unshuffle(one - 0.5, BLOCK).flatten(2))
    ridge = 1e-4 * len(blocks) * torch.eye(len(square)).double()
    networks.linear.weight.copy_(torch.linalg.solve(square + ridge, product).T.view(-1, CODE, 3, 3))


def _columns(found: Tensor) -> Tensor:
    """[B, K, places] -> float64 [B places, K]."""
    return found.transpose(1, 2).flatten(0, 1).double()


def as_file(networks: Autoencoders, facts: dict[str, int]) -> bytes:
    """The networks as the content of a safetensors file, which tells how they were made."""
    from safetensors.torch import save

    tensors = {name: value.detach().cpu().contiguous() for name, value in networks.state_dict().items()}
    # One entry: the library writes several in an order that changes from run to run.
    return save(tensors, {"autoencoder_swap": json.dumps({"format": FORMAT, **facts}, sort_keys=True)})
