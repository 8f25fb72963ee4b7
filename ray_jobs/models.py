"""List, fetch and describe published networks: `faceverify models list | fetch | card | convert | show`.

It needs no cluster and starts none. Commands that load weights import PyTorch or ONNX Runtime only then.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from faceverify.errors import UserError
from faceverify.program import program
from ray_jobs.engine.signals import caught, quiet_when_unread

_EXAMPLES = {
    "list": "faceverify models list",
    "fetch": "faceverify models fetch yunet sface\n"
    "faceverify models fetch --for score.yaml --align.method scrfd\n"
    "faceverify models fetch adaface_ir50_ms1mv2 --from adaface_ir50_ms1mv2.safetensors",
    "card": "faceverify models card recogniser.onnx --colour RGB --mean 127.5 --std 127.5\n"
    "faceverify models card weights.pt --colour RGB --mean 123.675 116.28 103.53 --std 58.395 57.12 57.375",
    "convert": "faceverify models convert adaface_ir50_ms1mv2.ckpt adaface_ir50_ms1mv2.safetensors",
    "show": "faceverify models show model.onnx\nfaceverify models show sface",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code, as `ray_jobs.engine.session.run_job`."""
    with caught():
        return quiet_when_unread(lambda: _ended(argv))


def _ended(argv: Sequence[str] | None) -> int:
    args = _parser().parse_args(argv)
    from ray_jobs.engine.session import exit_code

    return exit_code("models", lambda: args.run(args))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=program("models"), description="Published networks, and model cards.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "list", _list, "show the published networks, their licences, and which are in the cache")
    fetch = _command(commands, "fetch", _fetch, "put published networks into the cache and verify them")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="a name of `list`")
    fetch.add_argument(
        "--from",
        dest="from_file",
        type=Path,
        metavar="FILE",
        help="take this file (of mtcnn: folder); no network is used",
    )
    fetch.add_argument(
        "--for",
        dest="job",
        nargs=argparse.REMAINDER,
        metavar="CONFIG",
        help="all that a job needs with this configuration; the job's own options may follow. The file's name begins "
        "with that of the job: score.yaml",
    )
    _add_card_options(_command(commands, "card", _card, "write FILE.card.json, which says how FILE is to be fed"))
    convert = _command(
        commands, "convert", _convert, "rewrite a checkpoint as safetensors without running what is in it"
    )
    convert.add_argument(
        "file", type=Path, help="a checkpoint that torch.save wrote (.ckpt, .pt, .pth), or a GhostFaceNet's .h5"
    )
    convert.add_argument("out", type=Path, help="the .safetensors file to write")
    convert.add_argument("--at", default="", metavar="PLACE", help="key and prefix of the tensors: ema, model/teacher.")
    show = _command(commands, "show", _show, "print the card of a recogniser, or what is known of a detector")
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
    parser.add_argument("file", type=Path, help="weights: .onnx, .pt, .pth, .ckpt, .safetensors or .h5")
    parser.add_argument("--colour", required=True, choices=("RGB", "BGR"), help="channel order of the network input")
    parser.add_argument("--mean", required=True, type=float, nargs="+", help="subtracted; 1 or 3 numbers in 0..255")
    parser.add_argument("--std", required=True, type=float, nargs="+", help="divides afterwards; 1 or 3 numbers")
    parser.add_argument("--input-size", type=int, nargs=2, default=(112, 112), help="height and width (112 112)")
    parser.add_argument("--architecture", help="network; found from the tensors where it can be, `onnx` for ONNX files")
    parser.add_argument("--dim", type=int, help="length of the embedding; found in the file where it can be")
    parser.add_argument("--crop", help="what it is shown of a photo, such as box160:margin=14 (arcface<size>)")
    parser.add_argument("--name", help="name for people (the file's name)")
    parser.add_argument("--source", default="", help="where the weights come from")
    parser.add_argument("--licence", default="", help="licence of the weights")
    parser.add_argument("--notes", default="", help="anything else a person should know")
    parser.add_argument("--force", action="store_true", help="the network wants this mean and std, odd as they are")


_ROW = "  {:<33} {:<11} {:<11} {:>8}  {:<12} {}"


def _list(args: argparse.Namespace) -> None:
    from faceverify.models import cache, registry
    from faceverify.models.detectors import DEFAULTS

    defaults = {*DEFAULTS.values(), registry.DEFAULT_RECOGNISER}
    for kind, option, fact in (
        ("detector", "--align.weights NAME (* is taken where none is named)", "method"),
        ("recogniser", "--model NAME (* is taken where none is named)", "numbers"),
        ("generator", "what `fakes --generators` needs", ""),
    ):
        print(f"{kind.capitalize()}s: {option}")
        print(_ROW.format("name", fact, "commercial", "size", "cache", "licence"))
        for name, entry in registry.entries().items():
            if entry.kind != kind:
                continue
            sizes = [file.size for file in entry.files if file.size]
            print(
                _ROW.format(
                    name + " *" * (name in defaults),
                    entry.card.dim if entry.card else entry.method,
                    entry.commercial,
                    _size(sum(sizes)) if sizes else "",
                    "fetched" if cache.find(name) else "not fetched" if entry.fetchable else "by hand",
                    entry.licence,
                )
            )
        print()
    print(
        "commercial: whether the licence of the weights allows commercial use; `show NAME` says where they come from."
    )
    print(f"Cache: {cache.cache_dir()}")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"


def _fetch(args: argparse.Namespace) -> None:
    from faceverify.models import cache, fetching, registry
    from ray_jobs.engine.fetch_weights import Line, named_by

    names = list(dict.fromkeys([*args.names, *(named_by(args.job) if args.job is not None else [])]))
    if not names and args.job is None:
        raise UserError("models fetch: name one or more of `faceverify models list`, or a configuration with --for.")
    if args.from_file and len(names) != 1:
        raise UserError(f"models fetch --from takes one name, not {len(names)}: each network has a file of its own.")
    if not names:
        print("This configuration needs no published network.")
    for entry in [registry.get(name) for name in names]:  # an unknown name is refused before the first download
        with Line(entry.name) as line:
            path = fetching.fetch(entry.name, args.from_file, line.watch, print)
        use = {"yes": "commercial use allowed", "no": "no commercial use", "unclear": "commercial use unclear"}
        print(f"{entry.name}: {path}")
        print(f"  licence: {entry.licence} ({use[entry.commercial]}); source: {entry.source}")
        if entry.kind == "generator":
            print(f"  SHA-256 {', '.join(cache.pinned(entry.name).values())}")
        elif all(file.sha256 for file in entry.files):
            print("  SHA-256 verified: " + ", ".join(file.sha256 or "" for file in entry.files))
        else:
            sums = ", ".join(cache.pinned(entry.name).values())
            print(f"  SHA-256 {sums} (none is published: that of the first file is kept, and another will be refused)")


def _card(args: argparse.Namespace) -> None:
    from faceverify.models import files, loading, registry
    from faceverify.models.card import build, card_path, check_scale
    from faceverify.storage import open_location

    path: Path = args.file
    files.require_file(path)
    architecture, dim = _seen_in(path, args.architecture, args.dim)
    card = build(
        name=args.name or path.stem,
        architecture=architecture,
        input_size=args.input_size,
        crop=args.crop,
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
    card.shown  # noqa: B018 - is it a crop, and of that size?
    truth = registry.known(card.sha256 or "")
    if truth is not None:
        files.check_agreement(card, truth, "given", path)
    if taken_off := loading.check_network(path, card):
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

        there = checkpoints.read(path)
        fits = [pair for pair in checkpoints.candidates(there) if architecture in (None, pair[0])]
        found = fits[0] if architecture and fits else checkpoints.identify(there) or (None, None)
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
    from faceverify.models import cache, registry
    from faceverify.models.card import twin
    from faceverify.models.loading import resolve

    entry = registry.entries().get(args.model)
    there = cache.find(args.model) if entry else None
    if entry is not None:
        print(f"{entry.kind} {entry.name}: {entry.source}")
        print(f"licence: {entry.licence}; commercial use: {entry.commercial}")
        for file in entry.files:
            print(f"{file.name}: {file.url or 'by hand'}")
            print(f"  SHA-256 {cache.expected(entry.name).get(file.name, 'unknown')}")
        if entry.published_threshold is not None:
            print(f"threshold {entry.published_threshold}: published by {entry.threshold_source}; not measured here")
        if there is None or entry.card is None:
            print(entry.card.to_json() if entry.card else "", end="")
            print(f"in the cache: {there or 'no'}")
            return
    path, card = resolve(args.model)
    print(card.to_json(), end="")
    print(f"file: {path}\ndigest: {card.digest}")
    if path.suffix.lower() != ".onnx" and (other := twin(card.architecture)):
        by = "the registry says" if registry.known(card.sha256 or "") else "its model card says"
        print(
            f"taken for {card.architecture}, as {by}: {other} has the same tensors but is fed differently, and "
            "weights that are fed as the other give wrong similarities without an error"
        )


if __name__ == "__main__":
    sys.exit(main())
