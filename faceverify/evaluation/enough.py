"""Whether there are enough people behind an error rate for it to say anything about others."""

FEWEST = 10


def too_few(people: int, data: str) -> str:
    """A sentence that says so where there are not; empty where there are, or where people are not known.

    Pairs of one person go wrong together, so that people count and not pairs: with k of them an error rate is wrong by
    some 1/k at least, whatever the number of pairs.

    Args:
        people: how many there are; 0 = not known.
        data: what they are in, for the sentence ("the split val").
    """
    if not 0 < people < FEWEST:
        return ""
    who = "one person" if people == 1 else f"{people} people"
    return (
        f"Only {who} in {data}: too few to tell anything. Error rates of other people may be quite different; "
        f"{FEWEST} people are the least, a hundred are better."
    )
