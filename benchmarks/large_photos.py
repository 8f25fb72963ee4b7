"""Photos of 12 megapixels: CPU seconds from the file to the crop, decoded in full and as far as the face needs it.

A real face is enlarged to a number of pixels and put into a scene of other real photos, blurred so that no face is
found in them, with the noise of a camera over all. The rival is the way of before: decoded in full, one bilinear sample
per pixel of the crop. Similarities, of each photo with another one of the same person, are compared with full decoding
and the same filter.
"""

import time

import cv2
import numpy as np

from benchmarks.harness import Report, Spread, parser, require
from faceverify.align import AlignConfig, Aligner, FoundFace, build
from faceverify.align.cards import look_side
from faceverify.align.crops import ARCFACE, Crop, parse
from faceverify.errors import BadData
from faceverify.faces import find_each
from faceverify.images import decode, encode_jpeg
from faceverify.images.decoded import DecodedPhoto
from faceverify.models import EngineConfig, load_engine
from faceverify.vectors import unit

HEIGHT, WIDTH = 3000, 4000
NOISE = 4.0  # standard deviation of a level
PUBLISHED = parse("arcface112:filter=bilinear")


def scene(others: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """[HEIGHT, WIDTH, 3] float32: tiles of detail, turned upside down so that no face is found."""
    side = 500
    rows = []
    for _ in range(HEIGHT // side):
        tiles = [others[i] for i in rng.choice(len(others), WIDTH // side)]
        rows.append(np.concatenate([cv2.resize(tile[::-1], (side, side)) for tile in tiles], axis=1))
    return np.concatenate(rows).astype(np.float32)


def photo(image: np.ndarray, face: FoundFace, pixels: int, others: list[np.ndarray], seed: int) -> bytes:
    """A JPEG with a face that is `pixels` wide."""
    rng = np.random.default_rng(seed)
    picture = scene(others, rng)
    assert face.box is not None
    x1, y1, x2, y2 = face.box
    scale = pixels / (x2 - x1)
    corner = np.array([WIDTH / 2, HEIGHT / 2]) - scale * np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    M = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    size = (WIDTH, HEIGHT)
    cv2.warpAffine(image.astype(np.float32), M, size, picture, cv2.INTER_CUBIC, cv2.BORDER_TRANSPARENT)
    picture += rng.normal(0, NOISE, picture.shape).astype(np.float32)
    return encode_jpeg(np.clip(picture, 0, 255).astype(np.uint8), 92)


def crop_of(data: bytes, aligner: Aligner, crop: Crop, side: int) -> np.ndarray | BadData:
    """From the file to the crop."""
    [found] = find_each([DecodedPhoto.of(data, longer_side=side)], [None], aligner, crops=(crop,))
    return found if isinstance(found, BadData) else found[1][0]


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--people", type=int, default=12)
    chosen = options.parse_args()
    require(chosen.data / "pins", chosen.data / "models")
    cv2.setNumThreads(1)
    config = AlignConfig(method="yunet", weights=str(chosen.data / "models" / "face_detection_yunet_2026may.onnx"))
    aligner, side = build(config), look_side(config, (ARCFACE,))
    engine = load_engine(str(chosen.data / "models" / "mobilefacenet_y1.onnx"), EngineConfig(threads=1))
    people = sorted((chosen.data / "pins").iterdir())[: chosen.people]
    pictures = [[decode(file.read_bytes()) for file in sorted(person.iterdir())[:2]] for person in people]
    others = [two[1] for two in pictures]
    report = Report(
        "large_photos",
        f"JPEG photos of {WIDTH}x{HEIGHT}, {chosen.people} people, YuNet, one thread. Median (smallest to largest).",
        ("face, pixels", "photos", "before, CPU ms", "now, CPU ms", "ratio", "other similarity than fully decoded"),
    )
    for pixels in (150, 500, 2000):
        before, now, apart = [], [], []
        for number, (first, second) in enumerate(pictures):
            [face], [mate] = aligner.find([first], [None]), aligner.align([second], [None])
            if isinstance(face, BadData) or isinstance(mate, BadData):
                continue
            data = photo(first, face, pixels, others, number)
            seconds, crops = [], []
            for crop, length in ((PUBLISHED, 0), (ARCFACE, side), (ARCFACE, 0)):
                start = time.process_time()
                crops.append(crop_of(data, aligner, crop, length))
                seconds.append(time.process_time() - start)
            kept = [crop for crop in crops if not isinstance(crop, BadData)]
            if len(kept) < len(crops):
                report.notes.append(f"{people[number].name}, {pixels} pixels: not found in every way.")
                continue
            units = unit(engine.embed(np.stack([mate.image, *kept])))
            similarity = units[1:] @ units[0]
            before.append(1000 * seconds[0])
            now.append(1000 * seconds[1])
            apart.append(abs(float(similarity[1] - similarity[2])))
        ratio = Spread.of([old / new for old, new in zip(before, now, strict=True)])
        cells = [f"{Spread.of(values):.0f}" for values in (before, now)]
        report.add(
            str(pixels),
            str(len(now)),
            *cells,
            f"{ratio:.1f}",
            f"median {np.median(apart):.4f}, at most {max(apart):.4f}",
        )
    report.write(chosen.results)


if __name__ == "__main__":
    main()
