"""The folders in which the networks are published: found, checked as far as that goes without loading, and summed.

$FACEVERIFY_CACHE/models/arc2face     arc2face/, encoder/ (Arc2Face), base/ (Stable Diffusion 1.5), lcm/ (LCM-LoRA)
$FACEVERIFY_CACHE/models/instantid    ControlNetModel/, ip-adapter.bin (InstantID), base/ (Stable Diffusion XL), lcm/
"""

import hashlib
import json
import os
import struct
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from faceverify.errors import UserError
from faceverify.fakes import Description, Weights
from faceverify.fakes.diffusion.recipes import KNOWN_SHA256, NETWORK, RECIPES, Part, Recipe
from faceverify.models import cache, files

GUIDE = "docs/fakes.md says what to download"
_MAX_JSON = 16 << 20


def located(description: Description) -> Description:
    """The description with its files in it, each found and checked.

    A file that is known and has another SHA-256 than the published one is used, and a line says so.

    Raises:
        UserError: a folder or file is not there, is cut off, or is of another network.
    """
    recipe = RECIPES[description.name]
    folder = cache.folder_of(recipe.family)
    where = f"generators: {description.name}"
    if not folder.is_dir():
        raise UserError(f"{where} needs its networks in the folder {folder}, which is not there: {GUIDE}.")
    sums = {}
    for path in files_of(recipe, folder, where):
        name = path.relative_to(folder).as_posix()
        sums[name] = [path.stat().st_size, _sum_of(path)]
        if KNOWN_SHA256.get(name, sums[name][1]) != sums[name][1]:
            print(
                f"{description.name}: {path} has SHA-256 {sums[name][1]}, which is not the published one; it is used."
            )
    sha256 = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()
    return replace(description, weights=(Weights(description.name, str(folder), sha256),))


def files_of(recipe: Recipe, folder: Path, where: str) -> list[Path]:
    """All files of a generator that are read, each checked; `where` begins the sentence about one that is not right.

    Raises:
        UserError: as `located`.
    """
    parts = {folder / part.folder / "config.json": part for part in recipe.parts}
    configs = {path: _read_json(path, where) for path in parts}
    for path, part in parts.items():
        _check_config(configs[path], path, part, where)
    _check_widths(configs, where)
    found = [*parts, *(weights_in(path.parent, where) for path in parts)]
    found += [folder / name for name in recipe.files]
    for path in found:
        if not path.is_file():
            raise UserError(f"{where} needs the file {path}, which is not there: {GUIDE}.")
        if fault := _fault_of(path):
            raise UserError(f"{where}: {path} {fault}; download it again.")
    return found


def weights_in(folder: Path, where: str = "generators") -> Path:
    """The weights file of a network's folder: safetensors before others, full precision before half.

    Raises:
        UserError: there is none.
    """
    endings = [f"{half}{ending}" for ending in (".safetensors", ".bin") for half in ("", ".fp16")]
    names = [f"{stem}{ending}" for ending in endings for stem in NETWORK]
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None:
        raise UserError(f"{where}: the folder {folder} holds no weights, such as {NETWORK[0]}.safetensors: {GUIDE}.")
    return found


def _read_json(path: Path, where: str) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(_MAX_JSON))
    except OSError:
        raise UserError(f"{where} needs the file {path}, which is not there: {GUIDE}.") from None
    except ValueError:
        raise UserError(f"{where}: {path} is no JSON; download it again.") from None
    if not isinstance(content, dict):
        raise UserError(f"{where}: {path} holds no settings; download it again.")
    return content


def _check_config(config: dict[str, Any], path: Path, part: Part, where: str) -> None:
    kinds = [config.get("_class_name"), *(config.get("architectures") or [])]
    # Arc2Face calls its text encoder by a class of its own, which is CLIP's text model in all that counts.
    if part.kind not in kinds and not (part.kind == "CLIPTextModel" and config.get("model_type") == "clip_text_model"):
        told = next(filter(None, kinds), "nothing")
        raise UserError(f"{where}: {path} is of a {told}, and a {part.kind} is wanted: {GUIDE}.")
    scaling = config.get("scaling_factor", 0.18215)  # older files leave out what was the only value
    if part.scaling and scaling != part.scaling:
        raise UserError(
            f"{where}: {path} is of another network: scaling_factor {scaling}, not {part.scaling}: {GUIDE}."
        )


def _check_widths(configs: dict[Path, dict[str, Any]], where: str) -> None:
    """Networks of different versions of Stable Diffusion take texts of different widths."""
    texts = [path for path, config in configs.items() if "hidden_size" in config]
    width = sum(configs[path]["hidden_size"] for path in texts)
    for path, config in configs.items():
        takes = config.get("cross_attention_dim", width)
        if takes != width:
            raise UserError(
                f"{where}: {path} is of another network than {texts[-1]}: it takes texts of width {takes}, not "
                f"{width}: {GUIDE}."
            )


def _fault_of(path: Path) -> str:
    """What is wrong with a file, as far as its ends show: `is cut off`; empty if nothing is."""
    if path.suffix == ".safetensors":
        return _fault_of_safetensors(path)
    if path.suffix == ".bin" and not zipfile.is_zipfile(path):  # its directory is at the end
        return "is cut off, or was not written by torch.save"
    return "" if path.stat().st_size else "is empty"


def _fault_of_safetensors(path: Path) -> str:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(_MAX_JSON, size - 8):
            return "is cut off, or no safetensors file"
        try:
            entries = json.loads(stream.read(length))
            end = max(
                (entry["data_offsets"][1] for name, entry in entries.items() if name != "__metadata__"), default=0
            )
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return "is no safetensors file"
    return "" if size == 8 + length + end else f"is cut off: it has {size:,} bytes of {8 + length + end:,}"


def _sum_of(path: Path) -> str:
    """SHA-256 of a file, remembered in the cache for as long as the file is not touched: gigabytes take a minute."""
    facts = path.stat()
    mark = [facts.st_size, facts.st_mtime_ns, facts.st_ino]
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    note = cache.cache_dir() / "sums" / f"{name}.json"
    try:
        known = json.loads(note.read_bytes())
        if known["of"] == mark:
            return str(known["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    sha256 = files.sha256_of(path)
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        made = note.with_name(f".{note.name}.{os.getpid()}")
        made.write_text(json.dumps({"of": mark, "sha256": sha256}))
        made.replace(note)
    except OSError:
        pass  # a cache that cannot be written to is read all the same
    return sha256
