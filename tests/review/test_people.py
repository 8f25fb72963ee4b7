"""Names offered while the reviewer types."""

from pathlib import Path

from review.clean_output import NAMES, ODD, SCRIPT

from faceverify.review.people import PersonSearch
from faceverify.storage import Location


def test_search(clean: Path) -> None:
    people = PersonSearch(Location(str(clean)), ["Person", "aperson 00x"])
    assert people.names() == sorted([*NAMES, "Person", "aperson 00x"])
    assert people.search("PERSON 00") == ["person 00", "aperson 00x"]
    assert people.search(" person ", 3) == ["Person", "person 00", "person 01"]
    assert people.search("the\nbold") == [ODD] and people.search("<script") == [SCRIPT]
    assert people.search("nobody") == []


def test_new_names_are_known_at_once(clean: Path) -> None:
    people = PersonSearch(Location(str(clean)), [])
    people.add("before")
    assert people.search("before") == ["before"]
    people.add("Zoë")
    assert people.search("zoË") == ["Zoë"]
