"""Which model card belongs to a weights file: the one inside it, beside it, or of a file known by its SHA-256."""

import hashlib
from dataclasses import replace
from pathlib import Path

from faceverify.errors import UserError
from faceverify.models import registry
from faceverify.models.card import MAX_BYTES, METADATA_KEY, ModelCard, card_path, check_scale, contradictions, parse

SUFFIXES = (".onnx", ".pt", ".pth", ".ckpt", ".safetensors", ".h5")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, reading it in pieces.

    Of an ONNX file that keeps tensors in files beside it: that of them all, one behind the other, it and then those by
    name; so it is what `cat model.onnx model.onnx.data | sha256sum` gives.
    """
    from faceverify.models import onnx_file

    others = onnx_file.data_files(path) if path.suffix.lower() == ".onnx" else []
    digest = hashlib.sha256()
    for one in (path, *others):
        if one == path or one.is_file():  # what is missing is said by whoever reads it
            with one.open("rb") as stream:
                while piece := stream.read(1 << 20):
                    digest.update(piece)
    return digest.hexdigest()


def require_file(path: Path) -> None:
    """Check that a weights file exists and is of a kind that can be read.

    Raises:
        UserError: it does not exist, or has an unknown ending.
    """
    if not path.is_file():
        raise UserError(f"There is no model '{path}'; give a weights file, or a name of `faceverify models list`.")
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is no weights file that can be read; it must end in {', '.join(SUFFIXES)}.")


def card_of(path: Path) -> ModelCard:
    """Return the card of a weights file, with the file's own SHA-256 in it.

    A file known by its SHA-256 always gets the card of the registry, so that it has one digest everywhere.

    Raises:
        UserError: there is no card (the text says how to write one), the card is of another file, contradicts what is
            known about the file, or feeds what no network is fed.
    """
    require_file(path)
    sha256 = sha256_of(path)
    given = _given(path)
    for card, where in given:
        _check_sha256(card, sha256, where)
    truth = registry.known(sha256) or (given[0][0] if given else None)
    if truth is None:
        raise UserError(
            f"{path} has no model card, and its colour order and scale cannot be guessed; write one "
            f"with `faceverify models card {path} --colour RGB --mean 127.5 --std 127.5`, with the true values."
        )
    for card, where in given:
        check_agreement(card, truth, where, path)
    if given and not any(card.unusual_scale for card, _ in given):  # a card beside the file may confirm one inside it
        check_scale(truth, given[0][1])
    return replace(truth, sha256=sha256)


def _given(path: Path) -> list[tuple[ModelCard, str]]:
    """The cards inside and beside the file, each with the place it was found at."""
    found = []
    if path.suffix.lower() == ".onnx" and (text := onnx_metadata(path).get(METADATA_KEY)):
        where = f"in the metadata of {path}"
        found.append((parse(text, where), where))
    beside = card_path(path)
    if beside.is_file():
        with beside.open("rb") as stream:
            found.append((parse(stream.read(MAX_BYTES + 1), str(beside)), str(beside)))
    return found


def onnx_metadata(path: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file.

    Raises:
        UserError: if it is no ONNX file.
    """
    from faceverify.models import onnx_file

    model = onnx_file.read(path)
    return {entry.key: entry.value for entry in model.metadata_props}


def _check_sha256(card: ModelCard, sha256: str, where: str) -> None:
    if card.sha256 not in (None, sha256):
        raise UserError(
            f"The model card {where} is of a file with SHA-256 {card.sha256}, but the file has {sha256}; one of "
            "the two was replaced: fetch the weights again or write the card again."
        )


def check_agreement(card: ModelCard, truth: ModelCard, where: str, path: Path) -> None:
    """Check that a card feeds a file as another card, known to be right, does.

    Raises:
        UserError: names every field that differs.
    """
    if faults := contradictions(card, truth):
        raise UserError(
            f"The model card {where} contradicts what is known of {path} ({truth.name}): {'; '.join(faults)}; "
            "correct or delete the card."
        )
