"""Read a detector's weights file and refuse what cannot be the right one."""

import hashlib

from faceverify.align import AlignConfig
from faceverify.errors import BadData, UserError
from faceverify.storage import open_location

# SHA-256 of published files -> the method they belong to.
_KNOWN = {
    "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0": "yunet",  # face_detection_yunet_2026may
    "bc24bb349491481c3ca793cf89306723162c280cb284c5a5e49df3760bf5c2ce": "scrfd",  # scrfd_2.5g_bnkps
}


def read_weights(config: AlignConfig) -> tuple[bytes, str]:
    """The bytes of `config.weights` and their SHA-256 in hexadecimal.

    Raises:
        UserError: no file is named, it is not there, or it is known to belong to another method.
    """
    if not config.weights:
        raise UserError(f"align.weights is empty: align.method {config.method} needs its detector's ONNX file.")
    location = open_location(config.weights)
    if not location.is_file():
        raise UserError(f"align.weights {config.weights!r} is not a file: give the path of the detector's ONNX file.")
    try:
        data = location.read_bytes()
    except BadData as fault:
        raise UserError(f"align.weights {config.weights!r} cannot be read ({fault}): mend that or copy it.") from None
    digest = hashlib.sha256(data).hexdigest()
    owner = _KNOWN.get(digest, config.method)
    if owner != config.method:
        raise UserError(
            f"align.weights {config.weights!r} holds the weights of {owner}: give the ONNX file of {config.method}, "
            f"or set align.method to {owner}."
        )
    return data, digest


def not_weights_of(config: AlignConfig) -> UserError:
    """The error for a file that opens but is not a network of this method."""
    return UserError(
        f"align.weights {config.weights!r} is not a {config.method} network: give its published ONNX file."
    )
