"""List, fetch and describe face embedders: `python -m ray_jobs.models list | fetch | card | convert | show`.

It needs no cluster and starts none. Commands that load weights import PyTorch or ONNX Runtime only then.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from faceverify.errors import UserError
from ray_jobs.signals import caught, quiet_when_unread

_EXAMPLES = {
    "list": "python -m ray_jobs.models list",
    "fetch": "python -m ray_jobs.models fetch cvlface_adaface_ir101_webface12m\n"
    "python -m ray_jobs.models fetch adaface_ir50_ms1mv2 --from adaface_ir50_ms1mv2.safetensors",
    "card": "python -m ray_jobs.models card recogniser.onnx --colour RGB --mean 127.5 --std 127.5\n"
    "python -m ray_jobs.models card weights.pt --colour RGB --mean 123.675 116.28 103.53 --std 58.395 57.12 57.375",
    "convert": "python -m ray_jobs.models convert adaface_ir50_ms1mv2.ckpt adaface_ir50_ms1mv2.safetensors",
    "show": "python -m ray_jobs.models show model.onnx\npython -m ray_jobs.models show mobilefacenet_y1",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, as `ray_jobs.session.run_job`."""
    with caught():
        return quiet_when_unread(lambda: _ended(argv))


def _ended(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    from ray_jobs.session import exit_code

    return exit_code("models", lambda: args.run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ray_jobs.models", description="Face embedders and their cards.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "list", _list, "show the published models, their licences, and which are in the cache")
    fetch = _command(commands, "fetch", _fetch, "put a published model into the cache and verify it")
    fetch.add_argument("name", help="a name of `list`")
    fetch.add_argument("--from", dest="from_file", type=Path, metavar="FILE", help="take this file; no network is used")
    _add_card_options(_command(commands, "card", _card, "write FILE.card.json, which says how FILE is to be fed"))
    convert = _command(
        commands, "convert", _convert, "rewrite a checkpoint as safetensors without running what is in it"
    )
    convert.add_argument("file", type=Path, help="a checkpoint that torch.save wrote (.ckpt, .pt, .pth)")
    convert.add_argument("out", type=Path, help="the .safetensors file to write")
    convert.add_argument("--at", default="", metavar="PLACE", help="key and prefix of the tensors: ema, model/teacher.")
    show = _command(commands, "show", _show, "print the card of a model")
    show.add_argument("model", help="a file, or a name of `list`")
    return parser


def _command(commands: "argparse._SubParsersAction", name: str, run: object, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog="examples:\n  " + _EXAMPLES[name].replace("\n", "\n  "),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_card_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="weights: .onnx, .pt, .pth, .ckpt or .safetensors")
    parser.add_argument("--colour", required=True, choices=("RGB", "BGR"), help="channel order of the network input")
    parser.add_argument("--mean", required=True, type=float, nargs="+", help="subtracted; 1 or 3 numbers in 0..255")
    parser.add_argument("--std", required=True, type=float, nargs="+", help="divides afterwards; 1 or 3 numbers")
    parser.add_argument("--input-size", type=int, nargs=2, default=(112, 112), help="height and width (112 112)")
    parser.add_argument("--architecture", help="network; found from the tensors where it can be, `onnx` for ONNX files")
    parser.add_argument("--dim", type=int, help="length of the embedding; found in the file where it can be")
    parser.add_argument("--name", help="name for people (the file's name)")
    parser.add_argument("--source", default="", help="where the weights come from")
    parser.add_argument("--licence", default="", help="licence of the weights")
    parser.add_argument("--notes", default="", help="anything else a person should know")
    parser.add_argument("--force", action="store_true", help="the network wants this mean and std, odd as they are")


def _list(args: argparse.Namespace) -> None:
    from faceverify.models import cache, registry

    for name, entry in registry.entries().items():
        card = entry.card
        state = "in the cache" if cache.folder_of(name).is_dir() else "not fetched" if entry.url else "by hand"
        print(f"{name:34} {card.architecture:17} {card.colour}  {card.dim:4}  {state:13} {card.licence}")
        print(f"{'':34} {card.source}")
    print(f"cache: {cache.cache_dir()}")


def _fetch(args: argparse.Namespace) -> None:
    from faceverify.models import cache, registry
    from faceverify.models.files import card_of

    expected = registry.get(args.name).card
    path = cache.fetch(args.name, args.from_file)
    print(f"{args.name}: {path}")
    print(f"licence: {expected.licence}")
    if expected.sha256:
        print(f"SHA-256 verified: {expected.sha256}")
    else:
        print(f"SHA-256 could not be verified, none has been published; this file has {card_of(path).sha256}")


def _card(args: argparse.Namespace) -> None:
    from faceverify.models import files, registry
    from faceverify.models.card import build, card_path, check_scale
    from faceverify.storage import open_location

    path: Path = args.file
    files.require_file(path)
    architecture, dim = _seen_in(path, args.architecture, args.dim)
    card = build(
        name=args.name or path.stem,
        architecture=architecture,
        input_size=args.input_size,
        colour=args.colour,
        mean=_three(args.mean, "--mean"),
        std=_three(args.std, "--std"),
        dim=dim,
        sha256=files.sha256_of(path),
        source=args.source,
        licence=args.licence,
        notes=args.notes,
        unusual_scale=args.force,
    )
    check_scale(card, "given")
    truth = registry.known(card.sha256 or "")
    if truth is not None:
        files.check_agreement(card, truth, "given", path)
    if taken_off := files.check_network(path, card):
        print(f"Weights: taken off: {taken_off}")
    open_location(str(card_path(path))).write_bytes(card.to_json().encode())
    print(f"{card_path(path)}: digest {files.card_of(path).digest}")


def _seen_in(path: Path, architecture: str | None, dim: int | None) -> tuple[str, int]:
    """Complete architecture and dimension from the file where the user gave none."""
    if path.suffix.lower() == ".onnx":
        from faceverify.models.engine_onnx import output_dim

        found = ("onnx", output_dim(path))
    else:
        from faceverify.models import checkpoints

        found = checkpoints.identify(checkpoints.read(path)) or (None, None)
    architecture, dim = architecture or found[0], dim or found[1]
    if architecture is None or dim is None:
        raise UserError(f"{path} does not show which network it holds; give --architecture and --dim.")
    return architecture, dim


def _three(values: list[float], option: str) -> list[float]:
    if len(values) not in (1, 3):
        raise UserError(f"{option} has {len(values)} numbers; give one for all channels or three.")
    return values * 3 if len(values) == 1 else values


def _convert(args: argparse.Namespace) -> None:
    from faceverify.models import checkpoints

    count = checkpoints.convert(args.file, args.out, args.at)
    print(f"{args.out}: {count} tensors; nothing else of {args.file} was kept, and nothing in it was run")


def _show(args: argparse.Namespace) -> None:
    from faceverify.models.engines import resolve

    path, card = resolve(args.model)
    print(card.to_json(), end="")
    print(f"file: {path}\ndigest: {card.digest}")


if __name__ == "__main__":
    sys.exit(main())
