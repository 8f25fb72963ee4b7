"""What it does to errors and speed that faces larger than their crop are averaged (area) and not sampled (bilinear).

All pairs of photos of a set are compared. The default was chosen on the first two sets; LFW View-1 is another.
"""

import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.harness import Report, parser, require
from faceverify.align import AlignConfig, FoundFace, build
from faceverify.align.crops import ARCFACE, parse
from faceverify.align.cutting import cut, pixels_per_crop_pixel
from faceverify.evaluation.metrics import equal_error_rate, sort_scores
from faceverify.images import decode
from faceverify.models import EngineConfig, load_engine
from faceverify.vectors import unit

FILTERS = {"bilinear": parse("arcface112:filter=bilinear"), "area": ARCFACE}
NETWORKS = ("mobilefacenet_y1.onnx", "mobilefacenet_foamliu.pt")


def photos_of(data: Path) -> dict[str, list[Path]]:
    """The sets: photos in a folder of each person."""
    places = {"pins": data / "pins", "LFW, training people": data / "lfw" / "images"}
    return {name: sorted(place.glob("*/*")) for name, place in places.items()} | {
        "LFW View-1, test people": sorted((data / "lfw" / "view1" / "images").glob("*/*"))
    }


def find_faces(files: list[Path], weights: Path) -> tuple[list[tuple[np.ndarray, FoundFace]], np.ndarray]:
    """Photos with a face and the face, and whose they are."""
    aligner = build(AlignConfig(method="yunet", weights=str(weights)))
    found = []
    for file in files:
        image = decode(file.read_bytes())
        [face] = aligner.find([image], [None])
        if isinstance(face, FoundFace):
            found.append((image, face, file.parent.name))
    return [(image, face) for image, face, _ in found], np.array([person for *_, person in found])


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    folder = chosen.data / "models"
    require(folder, chosen.data / "pins")
    cv2.setNumThreads(1)
    engines = [load_engine(str(folder / name), EngineConfig(threads=1)) for name in NETWORKS]
    columns = ("photos", "faces", "pixels per pixel of the crop, 5 % to 95 %", "filter", "CPU per crop, us")
    columns += tuple(f"EER, {Path(name).stem}" for name in NETWORKS)
    report = Report("crop_filter", "Crops of 112 pixels, sampled bilinearly or averaged; all pairs of photos.", columns)
    for name, files in photos_of(chosen.data).items():
        found, person = find_faces(files, folder / "face_detection_yunet_2026may.onnx")
        sizes = [pixels_per_crop_pixel(face, ARCFACE, *image.shape[:2]) for image, face in found]
        low, high = np.quantile(sizes, [0.05, 0.95])
        a, b = np.triu_indices(len(found), 1)
        same = person[a] == person[b]
        for way, crop in FILTERS.items():
            start = time.process_time()
            crops = np.stack([cut(image, face, crop) for image, face in found])
            spent = (time.process_time() - start) / len(found)
            eers = []
            for engine in engines:
                units = unit(engine.embed(crops))
                similarity = (units @ units.T)[a, b]
                scores = sort_scores(similarity[same], similarity[~same])
                eers.append(f"{100 * equal_error_rate(scores).eer:.3f} %")
            report.add(name, f"{len(found):,}", f"{low:.2f} to {high:.2f}", way, f"{1e6 * spent:.0f}", *eers)
    report.write(chosen.results)


if __name__ == "__main__":
    main()
