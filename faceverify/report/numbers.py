"""Numbers as people read them: rates in per cent, intervals, counts, scores."""

from collections.abc import Sequence

MISSING = "–"  # noqa: RUF001 (an en dash marks an empty cell)


def percent(rate: float | None) -> str:
    """A share as per cent with two or three telling digits: 0.4123 -> 41.2%, 0.00031 -> 0.031%."""
    if rate is None:
        return MISSING
    value = 100 * rate
    if value == 0 or value == 100:
        return f"{value:.0f}%"
    if value >= 10:
        # 99.97 is not 100: digits grow towards both ends.
        return f"{value:.1f}%" if value <= 99.9 else f"{value:.3f}%"
    if value >= 1:
        return f"{value:.2f}%"
    digits = 2
    while digits < 8 and round(value, digits) * 10**digits < 10:
        digits += 1
    return f"{value:.{digits}f}%"


def interval(bounds: Sequence[float] | None) -> str:
    """A 95 % interval of a share: "0.10 to 0.51%"; empty if there is none."""
    if bounds is None:
        return ""
    return f"{percent(bounds[0]).removesuffix('%')} to {percent(bounds[1])}"  # the unit once


def count(number: int | None) -> str:
    """A whole number with thousands separated."""
    return MISSING if number is None else f"{number:,}"


def score(similarity: float | None) -> str:
    """A cosine similarity, three decimals, with a true minus sign so that columns align."""
    # Adding 0.0 turns a negative zero into a plain one.
    return MISSING if similarity is None else f"{round(similarity, 3) + 0.0:.3f}".replace("-", "−")  # noqa: RUF001


def plain(number: float) -> str:
    """A number without an exponent and without trailing zeros: 1e-05 -> 0.00001."""
    return f"{number:.10f}".rstrip("0").rstrip(".")
