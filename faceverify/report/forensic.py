"""The section of the evaluation's page about forensic scores, in plain words and the terms of ISO/IEC 30107-3."""

from faceverify.evaluation.forensic import LEAST_PHOTOS, ForensicResult
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
        f"Real people: the recogniser alone rejects {_share(result.rejected_alone, pairs)} of the genuine pairs "
        f"(FNMR), both numbers together {_share(result.rejected, pairs)}; {result.unjudged:,} pairs have a photo that "
        f"is too small to be judged (below {LEAST_EYES:.0f} pixels between the eyes, or of a band without a "
        f"threshold). {chosen}",
        "Fakes by generators that the forensic network learnt from say nothing about other programs, and the two "
        "must not be added up.",
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
            (name, one.pairs, _share(one.accepted_alone, one.pairs), _share(one.accepted, one.pairs))
            for name, one in result.by_generator.items()
        )
        columns = ("generator", "pairs", "accepted by the recogniser alone", "accepted by both (IAPAR)")
        sections.append(Section(title="Deepfakes accepted, by generator", table=Table(columns=columns, rows=rows)))
    return tuple(sections)


def _share(count: int, of: int) -> str:
    return f"{count:,} of {of:,}" + (f" ({count / of:.1%})" if of else "")
