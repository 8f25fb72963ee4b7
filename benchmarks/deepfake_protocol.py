"""Deepfakes refused by similarity and forensic score, seen and unseen generators apart, and what real people pay.

The division of people and clips is `splits/deepfakes.csv`. All thresholds come from real photos of DEV: the similarity
at --fmr, the forensic score of each band so that the system's FNMR exceeds the recogniser's by at most --cost. Then
fakes are judged: of TEST by generators whose family was learnt from (*seen*), of DEV and TEST by families that were
left out (*unseen*), of all splits where no fake of another program was learnt from at all. Every picture is stored
again in a drawn way first. docs/protocol.md says what each figure means.

    python -m benchmarks.deepfake_protocol --forensic ours=MODEL.onnx --forensic blind=OTHER.onnx:autoencoder

After the colon stands the family that the model did not learn from, or `all`.
"""

from argparse import Namespace
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmarks.forensic_photos import (
    AS_IS,
    MORE_DRAWS,
    RECODED,
    Album,
    Looker,
    Seen,
    joined,
    own_fakes,
    pasted_onto_itself,
)
from benchmarks.harness import Report, parser, require
from benchmarks.splits import DEV, TEST, TRAIN, Row, read
from faceverify.align import AlignConfig, build
from faceverify.evaluation.deepfakes import (
    Claims,
    GeneratorResult,
    Pictures,
    Shortcut,
    bpcer_by_source,
    judge_generator,
    judge_genuine,
    overall,
    shortcut,
    too_small,
)
from faceverify.evaluation.forensic import JudgedPairs, choose_thresholds
from faceverify.evaluation.metrics import fnmr_at_fmr, sort_scores
from faceverify.forensics.bands import BANDS
from faceverify.forensics.model import ForensicModel
from faceverify.forensics.thresholds import ForensicThresholds
from faceverify.models import load_engine
from faceverify.models.engine_config import EngineConfig

ALL = "all"
PER_PERSON = 16  # real photos of a person at most: 120 pairs
REFERENCES = 4  # real photos of the claimed person that a fake is compared with
APART = ("reenactment", "segmind")  # the identity is the host's; hosts that are drawn: in no mean
LEARNT = frozenset(row.family for row in read() if row.role == "fake" and row.split == TRAIN)
"""Families of which there is something to learn from; the others are unseen for everybody."""
FAMILIES = frozenset(row.family for row in read() if row.role == "fake")
SAVED = ("JPEG 95", "JPEG 75")
REAL = 400  # real photos of the shortcut tests: one is 0.25 points
MATRIX = (AS_IS, "JPEG 90", "JPEG 75", "JPEG 50", "x0.5")
LEAST_OF_SOURCE = 30  # photos of a source from which on it can be the worst one


@dataclass(frozen=True)
class Model:
    """A forensic model under test and the family it did not learn from; `all` = no fake of another program."""

    name: str
    path: Path
    left_out: str

    @classmethod
    def parse(cls, text: str) -> "Model":
        """Read NAME=MODEL.onnx[:family]."""
        name, _, rest = text.partition("=")
        path, _, family = rest.partition(":")
        if not (name and path):
            raise SystemExit(
                f"--forensic is {text!r}: give NAME=MODEL.onnx, with :FAMILY behind it if one was left out."
            )
        if family not in ("", ALL, *FAMILIES):  # taken for none, fakes that were left out would be "seen"
            raise SystemExit(f"--forensic leaves out {family!r}: give one of {', '.join(sorted(FAMILIES))}, or {ALL}.")
        return cls(name, Path(path), family)

    def protocol(self, row: Row) -> str | None:
        """As what a fake is judged; None = not at all."""
        if row.source == "own":
            return "seen, own" if row.split == TEST else None
        if row.family == "segmind":
            return "acceptance only"
        if self.left_out == ALL or row.family == self.left_out or row.family not in LEARNT:
            return "unseen" if self.left_out == ALL or row.split != TRAIN else None
        return "seen" if row.split == TEST else None


def wanted(rows: Sequence[Row], models: Sequence[Model]) -> list[Row]:
    """The pictures that are looked at: a few real photos of each person of DEV and TEST, fakes, and what they need."""
    fakes = [row for row in rows if row.role == "fake" and any(model.protocol(row) for model in models)]
    claimed, hosts = {row.person.casefold() for row in fakes}, {row.host_path for row in fakes}
    found, taken = list(fakes), defaultdict(int)
    for row in rows:
        if row.role == "fake":
            continue
        judged = row.split in (DEV, TEST) or row.person.casefold() in claimed
        taken[row.person.casefold()] += judged
        if (judged and taken[row.person.casefold()] <= PER_PERSON) or row.path in hosts:
            found.append(row)
    return found


def genuine_pairs(seen: Seen, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Indices [P, 2] of all pairs of real photos within one person of a split, and the persons [P]."""
    people = defaultdict(list)
    for number, row in enumerate(seen.rows):
        if row.role == "real" and row.split == split and row.detector:
            people[row.person.casefold()].append(number)
    pairs = [(pair, name) for name, some in people.items() for pair in combinations(some, 2)]
    return np.array([pair for pair, _ in pairs]).reshape(-1, 2), np.array([name for _, name in pairs], object)


def similarities(seen: Seen, pairs: np.ndarray, other: Seen | None = None) -> np.ndarray:
    """[P] cosines of pairs [P, 2]; the second of `other`, if given."""
    return np.einsum("pd,pd->p", seen.units[pairs[:, 0]], (other or seen).units[pairs[:, 1]])


def similarity_threshold(seen: Seen, fmr: float) -> float:
    """The threshold at this FMR over all pairs of real photos of two people of DEV."""
    pairs, _ = genuine_pairs(seen, DEV)
    real = np.array([row.role == "real" and row.split == DEV and row.detector for row in seen.rows])
    some = seen.of(real)
    names = np.array([row.person.casefold() for row in some.rows])
    impostors = (some.units @ some.units.T)[np.triu(names[:, None] != names[None], 1)]
    point = fnmr_at_fmr(sort_scores(similarities(seen, pairs), impostors), fmr)
    assert point.threshold is not None
    return point.threshold


def dev_pairs(draws: Sequence[Seen], model: str) -> JudgedPairs:
    """The genuine pairs of DEV in several drawn recodings, because large faces are few."""
    parts = list[JudgedPairs]()
    for seen in draws:
        pairs, _ = genuine_pairs(seen, DEV)
        nobody = np.full(len(pairs), "", object)
        parts.append(JudgedPairs(similarities(seen, pairs), seen.scores[model][pairs], seen.eyes[pairs], nobody))
    names = ("similarity", "scores", "eyes", "generator")
    return JudgedPairs(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def claims_of(fakes: Seen, real: Seen, model: str) -> Claims:
    """Each fake with some real photos of the person it claims to be, none of them the picture it was made from."""
    people = defaultdict(list)
    for number, row in enumerate(real.rows):
        people[row.person.casefold()].append(number)
    pairs = []
    for number, row in enumerate(fakes.rows):
        known = [i for i in people[row.person.casefold()] if real.rows[i].path != row.host_path]
        pairs += [(number, i) for i in known[:: max(1, len(known) // REFERENCES)][:REFERENCES]]
    at = np.array(pairs, np.int64).reshape(-1, 2)
    return Claims(at[:, 0], similarities(fakes, at, real), real.scores[model][at[:, 1]], real.eyes[at[:, 1]])


@dataclass(eq=False)
class Trial:
    """One model judged: everything it saw, and the thresholds that DEV gave."""

    model: Model
    seen: dict[str, Seen]
    threshold: float
    limits: ForensicThresholds

    def fakes(self, way: str, protocol: str) -> Seen:
        """Fakes of one protocol."""
        seen = self.seen[way]
        return seen.of(
            np.array([row.role == "fake" and self.model.protocol(row) == protocol for row in seen.rows], bool)
        )

    def real(self, way: str, split: str | None = TEST) -> Seen:
        """Real photos that detectors are judged by, of one split; None = references for claims, of all."""
        seen = self.seen[way]
        which = [row.role != "fake" and (split is None or (row.split == split and row.detector)) for row in seen.rows]
        return seen.of(np.array(which, bool))

    def generators(self, way: str, protocol: str, band: int | None) -> dict[str, GeneratorResult]:
        """Results by generator; those without a picture in the band are left out."""
        fakes, name = self.fakes(way, protocol), self.model.name
        references = self.real(way, None)
        references = references.of(np.array([row.role == "real" for row in references.rows], bool))
        beside = self.real(way).pictures(name)
        pictures, hosts = fakes.pictures(name), self.seen[way].pictures(name).hosts
        by_path = {row.path: host for row, host in zip(self.seen[way].rows, hosts, strict=True)}
        pictures.hosts[:] = [by_path[row.path] for row in fakes.rows]
        found = {}
        for generator in sorted({row.generator for row in fakes.rows}):
            which = np.array([row.generator == generator for row in fakes.rows])
            claims = claims_of(fakes.of(which), references, name)
            some = pictures.of(which)
            result = judge_generator(some, claims, beside, self.limits, self.threshold, band)
            if result.pictures:
                found[generator] = result
        return found


def add_rows(report: Report, trial: Trial) -> None:
    """A row for each protocol, generator and band, and means that never mix protocols."""
    families = {row.generator: row.family for row in trial.seen[RECODED].rows if row.role == "fake"}
    for protocol in ("unseen", "seen", "seen, own", "acceptance only"):
        for band in (*reversed(range(len(BANDS))), None):
            results = trial.generators(RECODED, protocol, band)
            named = (trial.model.name, protocol)
            label = "all sizes" if band is None else BANDS[band].name
            for generator, one in results.items():
                detector = protocol != "acceptance only"
                figures = (one.apcer, one.auc, one.paired_auc)
                report.add(
                    *named,
                    f"{generator} ({families[generator]})",
                    label,
                    f"{one.pictures:,} / {one.units:,}",
                    str(one.iapar_alone),
                    str(one.iapar),
                    *(str(figure) if detector else "-" for figure in figures),
                    f"{one.not_judged:,}",
                )
            main = {name: one for name, one in results.items() if families[name] not in APART}
            if len(main) > 1:
                both = [overall({name: getattr(one, key) for name, one in main.items()}) for key in _MEANS]
                report.add(
                    *named,
                    f"**mean of {len(main)}, worst**",
                    label,
                    "",
                    *(
                        "-" if one.mean is None else f"**{one.mean:.1%}**, {one.highest:.1%} {one.worst}"
                        for one in both[:3]
                    ),
                    *("-" if one.mean is None else f"**{one.mean:.1%}**" for one in both[3:]),
                    "",
                )


_MEANS = ("iapar_alone", "iapar", "apcer", "auc", "paired_auc")


def notes_of(trial: Trial) -> list[str]:
    """Thresholds, and what real people pay."""
    name, notes = trial.model.name, []
    limits = ", ".join(
        f"{band.name} px {'none' if value is None else f'{value:.2f} (BPCER {bpcer:.1%} of {photos})'}"
        for band, value, bpcer, photos in zip(
            BANDS, trial.limits.values, trial.limits.bpcer, trial.limits.photos, strict=True
        )
    )
    notes.append(f"{name}: similarity from {trial.threshold:.4f}; forensic thresholds of DEV: {limits}.")
    for way in (RECODED, AS_IS):
        for split in (DEV, TEST):
            seen = trial.seen[way]
            pairs, persons = genuine_pairs(seen, split)
            scores, eyes = seen.scores[name][pairs], seen.eyes[pairs]
            one = judge_genuine(similarities(seen, pairs), scores, eyes, persons, trial.limits, trial.threshold)
            notes.append(
                f"{name}, {split}, {way}: FNMR of the system {one.system}, of the recogniser {one.alone}, cost "
                f"{one.cost}; {len(pairs):,} genuine pairs, {one.not_judged:,} with a photo that is not judged."
            )
        real = trial.real(way)
        sources = np.array([row.source for row in real.rows])
        persons = Pictures(real.scores[name], real.eyes, np.array([row.person for row in real.rows]), real.eyes)
        shares = bpcer_by_source(persons, sources, trial.limits)
        each = "; ".join(f"{source} {share} of {share.of:,}" for source, share in shares.items())
        worst = overall({source: share for source, share in shares.items() if share.of >= LEAST_OF_SOURCE})
        notes.append(
            f"{name}, TEST, {way}: BPCER by source of photos: {each}. Worst of those with {LEAST_OF_SOURCE} photos: "
            f"{worst.worst} {worst.highest or 0:.1%}. Too small: {too_small(real.eyes):,} of {len(real.rows):,}."
        )
    return notes


def matrix_notes(trial: Trial, some: dict[str, Seen]) -> list[str]:
    """The recoding matrix: of the same fakes and real photos, how many count as manipulated in each way."""
    name, cells = trial.model.name, []
    for way, seen in some.items():
        hit, _ = trial.limits.judge(seen.scores[name], seen.eyes)
        kinds = [("real", np.array([row.role != "fake" for row in seen.rows]))]
        main = [row.role == "fake" and row.family not in APART for row in seen.rows]
        protocols = [trial.model.protocol(row) if one else None for row, one in zip(seen.rows, main, strict=True)]
        for protocol in ("unseen", "seen", "seen, own"):
            kinds.append((protocol, np.array([one == protocol for one in protocols])))
        shares = ", ".join(f"{kind} {hit[which].mean():.1%} of {which.sum()}" for kind, which in kinds if which.any())
        cells.append(f"{way}: {shares}")
    return [f"{name}, counted as manipulated: {'; '.join(cells)}."]


def shortcut_notes(trial: Trial, own: dict[str, Seen], real: dict[str, Seen], pasted: Seen) -> list[str]:
    """The shortcut tests on own fakes and real photos of TEST."""
    name, notes = trial.model.name, []

    def hits(seen: Seen) -> np.ndarray:
        return trial.limits.judge(seen.scores[name], seen.eyes)[0]

    for generator in sorted({row.generator for row in own[AS_IS].rows}):
        which = np.array([row.generator == generator for row in own[AS_IS].rows])
        told = shortcut({way: hits(own[way])[which] for way in (AS_IS, *SAVED)}, 0.05)
        notes.append(_told(f"{name}, own fakes by {generator} caught", told))
    kept = {row.path for row in pasted.rows}
    which = np.array([row.path in kept for row in real[AS_IS].rows])
    ways = {way: hits(real[way])[which] for way in (AS_IS, *SAVED)}
    notes.append(_told(f"{name}, BPCER of real photos", shortcut(ways, 0.01)))
    itself = {AS_IS: ways[AS_IS], "pasted onto itself": hits(pasted)}
    notes.append(_told(f"{name}, BPCER of real photos", shortcut(itself, 0.01)))
    return notes


def _told(what: str, one: Shortcut) -> str:
    shares = ", ".join(f"{way} {share:.1%}" for way, share in one.shares.items())
    verdict = "holds" if one.holds else "FAILS"
    return f"{what}: {shares}; {100 * one.difference:.1f} points apart, {100 * one.allowed:.0f} allowed: {verdict}."


def thinned(seen: Sequence[Row], most: int) -> list[Row]:
    """At most so many of the rows, evenly."""
    return list(seen[:: max(1, -(-len(seen) // most))])


def main() -> None:
    """Entry point."""
    options = parser(__doc__ or "")
    options.add_argument("--forensic", action="append", default=[], metavar="NAME=MODEL.onnx[:FAMILY]", help="a model")
    options.add_argument("--networks", type=Path, help="networks of autoencoder_swap, a safetensors file")
    options.add_argument("--fmr", type=float, default=1e-3, help="of the similarity, on DEV")
    options.add_argument("--cost", type=float, default=0.05, help="of FNMR, by the forensic thresholds, on DEV")
    options.add_argument("--own", type=int, default=150, help="own fakes per generator")
    chosen = options.parse_args()
    if not chosen.forensic:
        print("Skipped: give the forensic models to judge as --forensic NAME=MODEL.onnx.")
        return
    weights = chosen.data / "models" / "face_detection_yunet_2026may.onnx"
    require(chosen.data / "swaps" / "swaps.csv", weights)
    measure(chosen, read()).write(chosen.results)


def measure(chosen: Namespace, rows: Sequence[Row]) -> Report:
    """Look at the pictures of the rows and judge every model."""
    models = [Model.parse(text) for text in chosen.forensic]
    weights = chosen.data / "models" / "face_detection_yunet_2026may.onnx"
    album = Album(chosen.data, build(AlignConfig(method="yunet", weights=str(weights))))
    engine = load_engine(str(chosen.data / "models" / "mobilefacenet_y1.onnx"), EngineConfig())
    forensic = {model.name: ForensicModel(model.path, EngineConfig()) for model in models}
    looker = Looker(engine, forensic)
    seen = looker.look(album.photos(wanted(rows, models)), (RECODED, AS_IS))
    lost = len(album.lost)
    judged = [row for row in wanted(rows, models) if row.split == TEST and row.role == "real" and row.detector]
    hosts = list(album.photos(thinned([row for row in judged if row.source in ("lfw", "pins")], chosen.own)))
    names = ["landmark_swap", "self_blend", *(["autoencoder_swap"] if chosen.networks else [])]
    ways = (RECODED, *MATRIX, SAVED[0])
    made = [looker.look(own_fakes(name, hosts, _networks(chosen, name)), ways) for name in names]
    own = {way: joined([one[way] for one in made]) for way in ways}
    real = looker.look(hosts, MATRIX)
    more = thinned([row for row in judged if row.source in ("lfw", "pins")], REAL)
    saved = looker.look(album.photos(more), (AS_IS, *SAVED))
    pasted = looker.look(pasted_onto_itself(album.photos(more)), (AS_IS,))[AS_IS]
    others = looker.look(
        album.photos(thinned([row for row in wanted(rows, models) if row.role == "fake"], 200)), MATRIX
    )
    report = Report("deepfake_protocol", _CLAIM, _COLUMNS)
    every = {way: joined([seen[way], own[way]]) for way in (RECODED, AS_IS)}
    threshold = similarity_threshold(seen[RECODED], chosen.fmr)
    dev = [row for row in wanted(rows, models) if row.split == DEV and row.role == "real" and row.detector]
    draws = [seen[RECODED], *looker.look(album.photos(dev), MORE_DRAWS).values()]
    for model in models:
        genuine = dev_pairs(draws, model.name)
        limits = choose_thresholds(genuine, threshold, forensic[model.name].card.digest, chosen.cost)
        trial = Trial(model, every, threshold, limits)
        add_rows(report, trial)
        report.notes += notes_of(trial)
        report.notes += matrix_notes(trial, {way: joined([real[way], others[way], own[way]]) for way in MATRIX})
        report.notes += shortcut_notes(trial, own, saved, pasted)
    report.notes += [
        f"Recogniser mobilefacenet_y1, faces by yunet; no face in {lost} pictures. A figure without an interval rests "
        "on fewer than 10 units: read it as a count.",
        "Seen: families learnt from, people and clips new. Unseen: families, people and clips new; of a model that "
        "learnt from no fake of another program (`all`) pictures of all splits. Reenactments and printed cards are in "
        "no mean.",
    ]
    return report


def _networks(chosen: Namespace, name: str) -> Path | None:
    return chosen.networks if name == "autoencoder_swap" else None


_CLAIM = (
    "How many fakes of each generator are accepted by the recogniser alone and by the whole system, recoded, at "
    "thresholds from real photos of DEV alone. Mean over units (clip x claimed person), 95 % by bootstrap over units."
)
_COLUMNS = (
    "model", "protocol", "generator (family)", "pixels between the eyes", "pictures / units", "IAPAR, recogniser alone",
    "IAPAR", "APCER", "AUC", "paired AUC", "not judged",
)  # fmt: skip


if __name__ == "__main__":
    main()
