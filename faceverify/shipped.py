"""The configurations that come with the package, whether it is a clone or an installed wheel."""

from pathlib import Path

FOLDER = Path(__file__).parent / "configs"  # in a clone a link to the folder at its top


def names() -> list[str]:
    """The names of all configurations, sorted."""
    return sorted(path.stem for path in [*FOLDER.glob("*.yaml"), FOLDER / "demo" / "demo.yaml"])


def text_of(name: str) -> str:
    """The text of a configuration, comments and all.

    Raises:
        FileNotFoundError: there is none of that name.
    """
    if name not in names():
        raise FileNotFoundError(name)
    return (FOLDER / "demo" / "demo.yaml" if name == "demo" else FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def headline(name: str) -> str:
    """What a configuration is for: the first sentence of its comment."""
    lines = []
    for line in text_of(name).splitlines():
        if not line.startswith("# "):
            break
        lines.append(line.removeprefix("# "))
        if line.endswith((":", ".")):
            break
    return " ".join(lines).rstrip(":.")


def remedy(path: Path) -> str:
    """What to do where a user named a configuration that is not there."""
    if path.stem in names():
        return f"`faceverify config {path.stem} > {path.stem}.yaml` writes one to edit"
    return "`faceverify config` lists those that come with the package"
