"""The section of the evaluation's page about forensic scores, in plain words and the terms of ISO/IEC 30107-3."""

from faceverify.evaluation.forensic import LEAST_PHOTOS, ForensicResult
from faceverify.evaluation.intervals import Interval
from faceverify.forensics.bands import BANDS, LEAST_EYES
from faceverify.report.numbers import percent
from faceverify.report.page import Section, Table

TITLE = "Photos that look manipulated"


def forensic_sections(result: ForensicResult) -> tuple[Section, ...]:
    """What the second number adds: its thresholds, what they cost real people, what they refuse."""
    limits, pairs = result.thresholds, result.genuine
    chosen = (
        "The thresholds were chosen on these very pairs, so the figures flatter: judge others with --calibration."
        if result.same_pairs
        else "The thresholds are those of the calibration, chosen on other pairs."
    )
    paragraphs = (
        "A deepfake can look like the claimed person to any recogniser. So each photo has a forensic score too, and a "
        "pair is accepted only if it is alike enough and neither photo looks manipulated.",
        "What real people pay: the recogniser alone rejects "
        f"{_share(result.rejected_alone, pairs, result.interval_alone)} of the genuine pairs (false non-match rate, "
        f"FNMR), both numbers together {_share(result.rejected, pairs, result.interval)}. {result.unjudged:,} pairs "
        f"have a photo that is too small to be judged (below {LEAST_EYES:.0f} pixels between the eyes, or of a band "
        f"without a threshold). {chosen}",
        "The terms are those of ISO/IEC 30107-3. BPCER (bona fide presentation classification error rate): share of "
        "real photos that count as manipulated. IAPAR (impostor attack presentation accept rate): share of deepfakes "
        "that the whole system accepts as the person they claim to be; what it accepts, an attacker passes with.",
        "Fakes by generators that the forensic network learnt from say nothing about other programs, and the two "
        "must not be added up: look at each generator by itself.",
    )
    bands = Table(
        columns=("pixels between the eyes", "threshold", "real photos", "of them refused (BPCER)"),
        rows=tuple(
            (
                band.name,
                f"none: fewer than {LEAST_PHOTOS} photos" if value is None else f"{value:.2f}",
                photos,
                "-" if bpcer is None else percent(bpcer),
            )
            for band, value, photos, bpcer in zip(BANDS, limits.values, limits.photos, limits.bpcer, strict=True)
        ),
    )
    sections = [Section(title=TITLE, paragraphs=paragraphs, table=bands)]
    if result.by_generator:
        rows = tuple(
            (
                name,
                one.pairs,
                "-" if one.persons is None else one.persons,
                _share(one.accepted_alone, one.pairs, one.interval_alone),
                _share(one.accepted, one.pairs, one.interval),
            )
            for name, one in result.by_generator.items()
        )
        columns = (
            "generator",
            "pairs",
            "claimed people",
            "accepted by the recogniser alone",
            "accepted by both (IAPAR)",
        )
        few = "Brackets: 95 % intervals, drawing claimed people; with fewer than ten of them, a count is all there is."
        sections.append(
            Section(
                title="Deepfakes accepted, by generator", paragraphs=(few,), table=Table(columns=columns, rows=rows)
            )
        )
    return tuple(sections)


def _share(count: int, of: int, spread: Interval | None) -> str:
    """Such as `3 of 5`, or with an interval `30 of 50 (60.0%, 45.1% to 73.0%)`."""
    if spread is None:
        return f"{count:,} of {of:,}"
    return f"{count:,} of {of:,} ({percent(count / of)}, {percent(spread.low)} to {percent(spread.high)})"
