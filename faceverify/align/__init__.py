"""From a photo to the 112x112 face crop that face-verification networks are made for.

    aligner = build(AlignConfig(method="yunet"))              # after `faceverify models fetch yunet`
    results = aligner.align(photos, [None] * len(photos))     # AlignedFace or BadData, one per photo, same order

Importing this package loads neither OpenCV nor ONNX Runtime nor PyTorch; `build` loads what the chosen method needs.
What each method's network is fed and what it gives says `faceverify.align.cards`.
"""

from faceverify.align.found import AlignedFace, FoundFace
from faceverify.align.interface import AlignConfig, Aligner, Device, Method, Policy, Variant

__all__ = ["AlignConfig", "AlignedFace", "Aligner", "Device", "FoundFace", "Method", "Policy", "Variant", "build"]


def build(config: AlignConfig) -> Aligner:
    """The aligner that `config` describes.

    Raises:
        UserError: the weights are missing (the text says how to fetch them), no file, or not those of the method; the
            device is not there.
    """
    match config.method:
        case "yunet":
            from faceverify.align import yunet

            return yunet.build(config)
        case "scrfd":
            from faceverify.align import scrfd

            return scrfd.build(config)
        case "retinaface":
            from faceverify.align import retinaface

            return retinaface.build(config)
        case "mtcnn":
            from faceverify.align import mtcnn

            return mtcnn.build(config)
        case "dfa":
            from faceverify.align import dfa

            return dfa.build(config)
        case "annotated":
            from faceverify.align.annotated import AnnotatedAligner

            return AnnotatedAligner()
        case "none":
            from faceverify.align.none import PassThroughAligner

            return PassThroughAligner()
