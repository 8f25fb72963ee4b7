"""Divide the photos and fakes of the test data into TRAIN, DEV and TEST; writes splits/deepfakes.csv.

    python -m benchmarks.splits.make_deepfakes --data DIR     # the same bytes for the same data

Whatever shares a person or a clip is one *group*: both directions of a pair of clips, all fakes that claim one person,
the hosts of those fakes. A group with somebody of LFW View-1 is TEST, so that nobody of that published list is ever
learnt from; of the others sha256(names) % 10 decides, but for two that are named below.
"""

import csv
import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import parser, require
from benchmarks.splits import DEV, TEST, TRAIN, Row, write

FAMILIES = {
    "DeepFaceLab_DFM": "autoencoder",
    "FFpp_Deepfakes": "autoencoder",
    "FFpp_FaceSwap": "graphics",
    "classic_dlib_wuhuikai": "graphics",
    "classic_direct_cut": "graphics",
    "classic_poisson_blend": "graphics",
    "FFpp_Face2Face": "reenactment",
    "FFpp_NeuralTextures": "reenactment",
    "HifiFace": "faceshifter",
    "ghost": "faceshifter",
    "inswapper": "inswapper",
    "ReSwapper_429500": "inswapper",
    "ReSwapper_1019500": "inswapper",
    "ReSwapper_1399500_256": "inswapper",
    "Segmind_faceswap_v2(inswapper_class)": "segmind",
}
"""Generator -> family: what is left out together, because who has seen one has seen the other."""
_SAME = (
    ("barack_obama", "ffpp_183"),
    ("donald_trump", "hififace_p1"),
    ("hillary_clinton", "classic_dlib_wuhuikai_to_7"),
    ("sophie_turner", "classic_dlib_wuhuikai_to_4"),
    ("ava_de_addario_1", "matilda_bobbie_2"),
    ("reswapper_ex1", "reswapper_ex2"),
    ("classic_08", "classic_18"),
    ("classic_14", "classic_16"),
    ("host_04", "host_08"),
    ("host_16", "host_18"),
)
"""One person, or one picture, under two names: found by similarities of at least 0.5 in several pairs."""
_HIFIFACE = "collages/HifiFace/"  # two of its figures have the same faces as source and host in turn
_DECIDED = {_HIFIFACE: TEST, "ffpp_183": TEST}
"""Groups that the hash would put into TRAIN, which would leave no fakes of their kind to be judged. With the first one
the family `faceshifter` has nothing in TRAIN, so nobody learns from it."""
_SOURCES = {"ffpp_c40_mudouble": "ffpp", "segmind_thortful": "segmind"}
_UNDETECTED = ("segmind", "gallery")  # drawn hosts; reference photos that are partly crops: similarity only


def make(data: Path) -> list[Row]:
    """Divide the photos and fakes below a data folder."""
    rows = [*_people(data, "lfw/images", "lfw"), *_people(data, "lfw/view1/images", "view1")]
    rows += [*_people(data, "pins", "pins"), *_people(data, "swaps/gallery", "gallery"), *_own_sets(data)]
    rows += _swaps(data)
    return _divided(rows)


def side_of(names: Iterable[str]) -> str:
    """Where a group of people and clips belongs: 6 of 10 to TRAIN, 2 to DEV, 2 to TEST; case does not matter."""
    key = "+".join(sorted({name.casefold() for name in names}))
    place = int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10
    return TRAIN if place < 6 else DEV if place < 8 else TEST


def _row(path: str, role: str, person: str, unit: str, source: str, generator: str = "", host_path: str = "") -> Row:
    family = FAMILIES[generator] if generator else ""
    return Row(path, role, generator, family, person, unit, host_path, source, "", source not in _UNDETECTED)


def _people(data: Path, folder: str, source: str) -> Iterator[Row]:
    """Real photos, in folders by person."""
    for path in sorted((data / folder).glob("*/*")):
        yield _row(str(path.relative_to(data)), "real", path.parent.name, path.parent.name, source)


def _own_sets(data: Path) -> Iterator[Row]:
    """`fakes/images/<name>`: what claims to show <name> beside real photos of it; hosts in folders of their own."""
    for path in sorted((data / "fakes" / "images").glob("*/*.jpg")):
        name, stem, place = path.parent.name, path.stem, str(path.relative_to(data))
        person = "Elon_Musk" if name == "ghost_musk" else name
        if name.startswith("host_"):
            yield _row(place, "host", name, name, "fakes")
        elif stem.startswith("real_"):
            yield _row(place, "real", person, person, "fakes")
        elif name == "ghost_musk":
            host = f"fakes/images/host_ghost/real_{stem[-2:]}.jpg"
            yield _row(place, "fake", person, f"ghost|{person}", "fakes", "ghost", host)
        else:
            host = f"fakes/images/{name.replace('classic', 'host')}/real_0.jpg"
            yield _row(place, "fake", person, f"{name}|{person}", "fakes", stem.replace("fake", "classic"), host)


def _swaps(data: Path) -> Iterator[Row]:
    """The pictures of `swaps/swaps.csv`."""
    with (data / "swaps" / "swaps.csv").open(newline="") as lines:
        given = list(csv.DictReader(lines))
    known = {line["path"] for line in given}
    for line in given:
        path, folder = line["path"], line["path"].split("/")[0]
        source = _SOURCES.get(folder, folder)
        host, clip = _host_of(line, known)
        if line["role"] == "fake":
            unit, host = f"{clip}|{line['claimed']}", f"swaps/{host}" if host else ""
            yield _row(f"swaps/{path}", "fake", line["claimed"], unit, source, line["generator"], host)
        elif line["role"] == "real_source":
            yield _row(f"swaps/{path}", "real", line["claimed"], line["claimed"], source)
        else:
            yield _row(f"swaps/{path}", "host", clip, clip, source)


def _host_of(line: dict[str, str], known: set[str]) -> tuple[str, str]:
    """(path of the real picture that a fake was made from, or empty; name of the clip it lies in)."""
    path, stem = line["path"], Path(line["path"]).stem
    note = dict(word.split("=", 1) for word in line["note"].split() if "=" in word)
    if path.startswith("deepfacelive_dfm"):
        frame = re.sub(r"^(fake_dfm|host)_", "", stem)
        host = f"{Path(path).parent}/host_{frame}.webp"
        return host if host in known else "", re.sub(r"_\d{4}$", "", frame)
    if "pair" in note:
        collage = path.split("/")[1]
        host = re.sub(r"_(fake_.*|real_(source|host))$", "_real_host", stem)
        found = [one for suffix in ("webp", "jpg") if (one := f"{Path(path).parent}/{host}.{suffix}") in known]
        # The same host stands beside several swaps of the classic figures: trump_to_4, hillary_to_4.
        shared = re.sub(r"^.*_to_(\d+).*$", r"to_\1", note["pair"])
        return found[0] if found else "", f"{collage}_{shared}"
    if "target" in note:
        frame = f"ffpp_c40_mudouble/real/{note['target']}/real_{note['target']}_{stem[-4:]}.webp"
        return frame if frame in known else "", f"ffpp_{note['target']}"
    return "", stem.removeprefix("fake_segmind_v2_")


class _Groups:
    """Names that belong together, in one spelling."""

    def __init__(self) -> None:
        self._root: dict[str, str] = {}

    def first(self, name: str) -> str:
        """The name that stands for the group of a name."""
        name = name.casefold()
        while self._root.setdefault(name, name) != name:
            name = self._root[name]
        return name

    def join(self, names: Iterable[str]) -> None:
        """Say that these belong together."""
        one, *others = names
        for name in (one, *others):
            self._root[self.first(name)] = self.first(one)

    def all(self) -> dict[str, set[str]]:
        """The names of each group, by the one that stands for it."""
        found = defaultdict(set)
        for name in list(self._root):
            found[self.first(name)].add(name)
        return found


def _members(row: Row, by_path: dict[str, Row]) -> Iterator[str]:
    """Everybody in a picture: its person, its clip, and those of the picture it was made from."""
    yield row.person
    if row.generator:
        yield row.unit.partition("|")[0]
    if row.generator in ("FFpp_Face2Face", "FFpp_NeuralTextures"):  # the clip whose movements were taken
        yield from (f"ffpp_{clip}" for clip in Path(row.path).parent.name.split("_"))
    if _HIFIFACE in row.path:
        yield _HIFIFACE
    if row.host_path:
        yield from _members(by_path[row.host_path], by_path)


def _divided(rows: list[Row]) -> list[Row]:
    """The rows with their split; what shares a person or a clip is on one side."""
    groups, by_path = _Groups(), {row.path: row for row in rows}
    for names in (*_SAME, *(_members(row, by_path) for row in rows)):
        groups.join(names)
    published = {row.person.casefold() for row in rows if row.source == "view1"}
    named = {row.person.casefold() for row in rows if row.role != "host"}

    def side(names: set[str]) -> str:
        decided = [split for name, split in _DECIDED.items() if name.casefold() in names]
        if names & published:
            return TEST
        # An unnamed host has no side of his own: the people whom his fakes claim to be decide.
        return decided[0] if decided else side_of(names & named or names)

    sides = {first: side(names) for first, names in groups.all().items()}
    return [replace(row, split=sides[groups.first(row.person)]) for row in rows]


def counts(rows: Iterable[Row]) -> str:
    """A line per source, generator and split: pictures and units, for people."""
    found: dict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.family, row.generator or row.source, row.role, row.split].append(row)
    lines = [
        f"{' '.join(key):<60}{len(some):>6,} pictures {len({row.unit for row in some}):>5,} units"
        for key, some in sorted(found.items())
    ]
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    chosen = parser(__doc__ or "").parse_args()
    require(chosen.data / "swaps" / "swaps.csv")
    rows = make(chosen.data)
    write(rows)
    print(counts(rows))


if __name__ == "__main__":
    main()
