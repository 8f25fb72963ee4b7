"""How counts are put into words for people."""


def count_of(count: int, what: str, several: str = "") -> str:
    """`1 photo`, `1,234 photos`: a count with its noun.

    Args:
        count: how many.
        what: the noun in the singular.
        several: its plural; empty = an s is added.
    """
    return f"{count:,} {what if count == 1 else several or what + 's'}"
