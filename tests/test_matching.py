"""Which name of a list is which name that exists: what holds for all lists, and the cases people bring."""

import unicodedata
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceverify.matching import CASE, EXTENSION, NORMAL_FORM, Match, Shift, find_shift, match, nearest

NFC, NFD = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("names", "existing", "others"),
    [
        (["a.jpg"], ["a.jpg", "a.png"], {}),
        (["a.jpg"], ["a.png"], {"a.jpg": ("a.png", EXTENSION)}),
        (["p/a"], ["p/a.jpeg", "q/a.jpg"], {"p/a": ("p/a.jpeg", EXTENSION)}),
        (["P/A.jpg"], ["p/a.JPG", "p/a.png"], {"P/A.jpg": ("p/a.JPG", CASE)}),
        ([NFC], [NFD, "e.jpg"], {NFC: (NFD, NORMAL_FORM)}),
        ([NFD], [NFC], {NFD: (NFC, NORMAL_FORM)}),
        ([NFD], [NFC.upper().replace("JPG", "png")], {NFD: (NFC.upper().replace("JPG", "png"), EXTENSION)}),
        (["a.jpg"], ["a.png", "a.webp"], {}),  # two could be meant
        (["A.jpg"], ["a.jpg", "a.JPG"], {}),
        (["a.jpg", "a.png"], ["a.webp"], {}),  # two photos of the list would become one
        (["a.jpg", "A.jpg"], ["a.jpg"], {}),
        (["a.jpg", "a.png"], ["a.png"], {}),
        (["a.jpg"], ["b/a.jpg", "a.txt", "a"], {"a.jpg": ("a", EXTENSION)}),
        (["a.1", "v1.2/a"], ["a.2", "v1.3/a"], {}),  # no extensions of pictures
        ([""], [".jpg"], {}),
        (["straße.jpg"], ["strasse.jpg"], {}),
    ],
)
def test_what_is_taken_for_what(names: list[str], existing: list[str], others: dict[str, tuple[str, str]]) -> None:
    made = match(names, existing)
    assert {name: (other, made.ways[name]) for name, other in made.others.items()} == others
    assert made.missing == [name for name in names if name not in others and name not in existing]


def test_a_photo_that_the_list_has_is_not_taken_for_another() -> None:
    assert match(["a.jpg"], ["a.png"], found=["a.png"]) == Match(missing=["a.jpg"])
    assert match([NFD], [NFC], found=[NFC]).others == {NFD: NFC}  # the same text: one photo, named twice


# Few letters, so that names meet in every way.
PARTS = st.text("aAéÉ", min_size=1, max_size=2)
ENDS = st.sampled_from(["", ".jpg", ".JPG", ".png", ".txt"])
FORMS = st.sampled_from(["NFC", "NFD"])
NAMES = st.builds(
    lambda folders, file, end, form: unicodedata.normalize(form, "/".join([*folders, file + end])),
    st.lists(PARTS, max_size=2),
    PARTS,
    ENDS,
    FORMS,
)


@given(st.sets(NAMES, max_size=12), st.sets(NAMES, max_size=12), st.randoms(use_true_random=False))
def test_of_any_list(names: set[str], existing: set[str], chance) -> None:
    made = match(sorted(names), sorted(existing))
    assert set(made.others.values()) <= existing, "a name that does not exist"
    assert not made.others.keys() & existing, "an exact name is itself"
    assert made.others.keys() | set(made.missing) | (names & existing) == names
    assert made.others.keys() == made.ways.keys() and not made.others.keys() & set(made.missing)

    for name, other in made.others.items():
        like = {NORMAL_FORM: same_form, CASE: same_case, EXTENSION: same_stem}[made.ways[name]]
        assert [one for one in existing if like(one, name)] == [other], "two could be meant"
        if made.ways[name] != NORMAL_FORM:
            assert other not in names
            assert list(made.others.values()).count(other) == 1, "two photos of the list became one"

    shuffled, all_of = sorted(names), sorted(existing)
    chance.shuffle(shuffled)
    chance.shuffle(all_of)
    again = match(shuffled, all_of)
    assert (again.others, again.ways, set(again.missing)) == (made.others, made.ways, set(made.missing))
    # Whatever is known to exist beforehand changes nothing.
    known = names & existing
    assert match(sorted(names - known), sorted(existing), known) == made


def same_form(a: str, b: str) -> bool:
    return unicodedata.normalize("NFC", a) == unicodedata.normalize("NFC", b)


def same_case(a: str, b: str) -> bool:
    return same_form(a.lower(), b.lower())


def same_stem(a: str, b: str) -> bool:
    def stem(name: str) -> str:
        name = name.lower()
        return name[:-4] if name.endswith((".jpg", ".png")) else name

    return same_case(stem(a), stem(b))


# -- lists that name their photos from another folder ------------------------------------------------------------------

LFW = ["Al/Al_1.jpg", "Al/Al_2.jpg", "Bo/Bo_1.jpg"]


@pytest.mark.parametrize(
    ("names", "existing", "shift"),
    [
        (LFW, [f"images/{name}" for name in LFW], Shift("", "images/")),
        ([f"/home/me/lfw/{name}" for name in LFW], LFW, Shift("/home/me/lfw/", "")),
        ([f"lfw/{name}" for name in LFW], [f"x/y/{name}" for name in LFW], Shift("lfw/", "x/y/")),
        (LFW, [name.replace("jpg", "PNG").replace("A", "a") for name in [f"x/{n}" for n in LFW]], Shift("", "x/")),
        (LFW, LFW, None),
        (LFW, ["Cy/Cy_1.jpg"], None),
        (LFW, [f"{top}/{name}" for top in ("raw", "cropped") for name in LFW], None),  # which of the two?
        (LFW, ["x/Al/Al_1.jpg", "x/Al/Al_2.jpg", "y/Bo/Bo_1.jpg"], None),  # not the same for all
        (LFW, ["x/Al/Al_1.jpg"], None),  # of too few
        (["0.jpg", "1.jpg"], ["al/0.jpg", "bo/0.jpg", "al/1.jpg"], None),
    ],
)
def test_the_change_of_folders(names: list[str], existing: list[str], shift: Shift | None) -> None:
    for order in permutations(names):
        assert find_shift(order, existing) == find_shift(order, reversed(existing)) == shift


@given(st.sets(NAMES, min_size=1, max_size=8), st.sampled_from(["", "x/", "x/y/"]), st.sampled_from(["", "u/"]))
def test_a_change_of_folders_leads_to_names_that_exist(names: set[str], strip: str, add: str) -> None:
    existing = {add + name for name in names}
    shift = find_shift((strip + name for name in names), existing)
    if shift is not None:
        moved = [shift(strip + name) for name in names]
        assert None not in moved
        assert not match({name for name in moved if name}, existing).others.keys() - set(moved)
        assert sum(name in existing for name in moved) * 2 > len(names)


def test_the_nearest_names() -> None:
    assert nearest(["ana/0001.png", "q/zzzz.jpg"], ["ana/0002.jpg", "anna/0001.jpg", "bob/0001.jpg"]) == {
        "ana/0001.png": "anna/0001.jpg"
    }
