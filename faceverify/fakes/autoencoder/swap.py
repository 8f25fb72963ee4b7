"""The swap: the person's face, warped onto the host's landmarks, drawn again by an autoencoder and blended in.

Which size of network, which decoder, which mask, and whether the face is sharpened is drawn for each fake.
"""

import cv2
import numpy as np
import torch

from faceverify.align.geometry import transform_points
from faceverify.errors import UserError
from faceverify.fakes import Description, Fake, Request
from faceverify.fakes.autoencoder.crops import cut_face, face_onto, from_crop, to_crop
from faceverify.fakes.autoencoder.network import DECODERS, SIZES, Autoencoders
from faceverify.fakes.autoencoder.pasting import MASKS, draw_mask
from faceverify.fakes.autoencoder.training import as_tensor
from faceverify.fakes.blending import blend, match_colours, match_light, to_bytes
from faceverify.fakes.checks import check_cover, check_face
from faceverify.fakes.masks import outline, polygon_area
from faceverify.fakes.single_fake import SingleFakeGenerator
from faceverify.models.safetensors_file import load_safetensors
from faceverify.storage import open_location

_CPU = torch.device("cpu")


class AutoencoderSwap(SingleFakeGenerator):
    """Generator of neural face swaps by networks that the job has trained.

    Raises:
        UserError: there are no networks, or they are of another kind.
    """

    def __init__(self, description: Description) -> None:
        super().__init__(description)
        if not description.weights:
            raise UserError("autoencoder_swap has no networks: the job fakes trains them.")
        self.networks = load(description.weights[0].uri)

    def make_one(self, request: Request) -> Fake:
        """The first source's face, drawn again, in the target photo, which stays as it is outside `Fake.mask`.

        Raises:
            BadData: BAD_LANDMARKS: not finite, all in one point, too small a face, or cut off by the edge of a photo.
        """
        assert request.target is not None
        source, target, rng = request.sources[0], request.target, request.rng
        check_face(source, "source")
        check_face(target, "target")
        size = SIZES[int(rng.integers(len(SIZES)))]
        way, kind = DECODERS[int(rng.integers(len(DECODERS)))], MASKS[int(rng.integers(len(MASKS)))]
        host, points = cut_face(target.image, target.landmarks, size)
        face, known, landed = face_onto(source.image, source.landmarks, points, size, rng.uniform(0.2, 0.6))
        with torch.inference_mode():
            made = self.networks(as_tensor(face[None], _CPU), as_tensor(host[None], _CPU), way)
        face = to_bytes(made[0].permute(1, 2, 0).numpy() * 255)
        sharp = rng.random() < 0.5
        if sharp:
            face = sharpened(face, rng.uniform(0.4, 1.2))
        matrix = to_crop(target.landmarks, size)
        own = outline(target.landmarks.astype(np.float64))
        across = float(np.sqrt(polygon_area(own)))
        box, mask = draw_mask(kind, matrix, size, target, across, rng)
        face, known = from_crop(face, matrix, box, known)
        check_cover(np.where(known, mask, 0) > 0, 0.8 * polygon_area(own))
        mask = np.where(known, mask, 0).astype(np.float32)
        x0, y0, x1, y1 = box
        before = target.image[y0:y1, x0:x1]
        face = match_colours(face, before, mask)
        face = match_light(face, before, mask, 0.2 * across, rng.uniform(0.2, 0.7))
        image = target.image.copy()
        image[y0:y1, x0:x1] = blend(before, face, mask)
        landmarks = transform_points(cv2.invertAffineTransform(matrix), landed)
        how = f"{size} pixels, {way}, {kind}" + (", sharpened" if sharp else "")
        return Fake(image, landmarks.astype(np.float32), box, mask, how)


def sharpened(face: np.ndarray, amount: float) -> np.ndarray:
    """Unsharp masking: uint8 [S, S, 3]."""
    return to_bytes(face + amount * (face.astype(np.float32) - cv2.GaussianBlur(face, (0, 0), 1.2)))


def load(uri: str) -> Autoencoders:
    """Networks of a file that `training.as_file` made.

    Raises:
        UserError: it is damaged, or holds other networks.
    """
    networks = Autoencoders()
    try:
        networks.load_state_dict(load_safetensors(open_location(uri).read_bytes()))
    except (ValueError, RuntimeError) as error:
        first = str(error).splitlines()[0][:200]
        raise UserError(
            f"networks: '{uri}' holds no networks of autoencoder_swap ({first}); give the output folder of a run that "
            "trained them, or leave the option out."
        ) from None
    return networks.eval()
