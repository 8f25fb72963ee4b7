"""A person at the page, in a real browser."""

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from review.clean_output import DIGEST, NAMES, ODD, SCRIPT, photo_name, strays
from review.conftest import Review

from faceverify.cleaning.decisions_file import read_decisions
from faceverify.storage import Location


def saved(file: Path) -> dict[str, tuple[str, str | None]]:
    return {d.photo: (d.decision, d.to) for d in read_decisions([Location(str(file))])}


def progress(page: Any, text: str) -> None:
    """Wait until the server has confirmed so much."""
    page.wait_for_function("text => document.querySelector('#progress').textContent === text", arg=text)


def on_case(page: Any, number: int) -> None:
    page.wait_for_function(
        "name => document.querySelector('.case h1')?.textContent === name", arg=NAMES[number].replace("\n", "↵")
    )


def open_list(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(".row")


def proposals(cases: range) -> dict[str, tuple[str, str | None]]:
    """What Enter accepts in these cases."""
    flagged = {photo_name(case, 6 + n): one for case in cases for n, one in enumerate(strays(case))}
    return {
        photo: ("dropped", None) if one["suggested"] is None else ("moved", NAMES[one["suggested"]])
        for photo, one in flagged.items()
    }


def test_ten_cases_by_keyboard_and_nothing_is_lost(page: Any, clean: Path, review: Callable[..., Review]) -> None:
    first = review(clean)
    open_list(page, first.address)
    page.keyboard.press("Enter")
    for case in range(10):
        on_case(page, case)
        page.keyboard.press("Enter")
    page.wait_for_selector("text=All people are done")
    progress(page, "10 of 10 cases done · 17 of 17 photos decided")
    assert saved(clean / "review.json") == proposals(range(10))

    page.reload()
    page.wait_for_selector("text=All people are done")
    assert first.stop() == 0
    assert "10 of 10 cases done. 17 decisions in" in "".join(first.said)
    assert f"--decisions {clean}/review.json --out {clean}_reviewed" in first.said[-1]

    second = review(clean)
    assert "10 done" in second.said[0]
    page.goto(second.address)
    page.wait_for_selector("text=All people are done")
    page.goto(f"{second.base}/#case/1")
    on_case(page, 1)
    assert page.locator(".photo.moved").count() == page.locator(".photo.dropped").count() == 1


def test_each_key(page: Any, clean: Path, review: Callable[..., Review]) -> None:
    open_list(page, review(clean).address)
    file, keys = clean / "review.json", page.keyboard
    stray, alone = photo_name(1, 6), photo_name(1, 7)
    keys.press("ArrowDown")
    keys.press("Enter")
    on_case(page, 1)
    keys.press("k")  # and the choice goes on to the next photo that waits
    progress(page, "0 of 10 cases done · 1 of 17 photos decided")
    keys.press("d")
    progress(page, "1 of 10 cases done · 2 of 17 photos decided")
    assert saved(file) == {stray: ("kept", None), alone: ("dropped", None)}
    keys.press("x")
    progress(page, "0 of 10 cases done · 1 of 17 photos decided")
    keys.press("ArrowLeft")
    keys.press("m")
    page.wait_for_selector("#move[open]")
    keys.press("Enter")  # takes the suggestion, and nothing else
    page.wait_for_selector(".photo.moved")
    keys.press("2")
    keys.type("new nobody")
    page.wait_for_selector("text=a new person")
    keys.press("Enter")
    progress(page, "1 of 10 cases done · 2 of 17 photos decided")
    assert saved(file) == {stray: ("moved", NAMES[6]), alone: ("moved", "new nobody")}
    keys.press("n")
    on_case(page, 2)
    keys.press("Shift+M")
    keys.type("o'neil \"the")
    page.wait_for_selector("#move .offers >> text=O'Neil")
    keys.press("Enter")
    progress(page, "2 of 10 cases done · 4 of 17 photos decided")
    assert [saved(file)[photo_name(2, n)] for n in (6, 7)] == [("moved", ODD)] * 2
    keys.press("p")
    on_case(page, 1)
    keys.press("Escape")
    page.wait_for_selector(".row.done")
    assert page.locator(".row.done").count() == 2


def test_undo_goes_back_step_by_step(page: Any, clean: Path, review: Callable[..., Review]) -> None:
    open_list(page, review(clean).address)
    keys = page.keyboard
    keys.press("Enter")
    on_case(page, 0)
    keys.press("d")
    progress(page, "1 of 10 cases done · 1 of 17 photos decided")
    keys.press("k")
    page.wait_for_selector(".photo.kept")
    keys.press("Enter")
    on_case(page, 1)
    keys.press("Enter")
    on_case(page, 2)
    keys.press("u")  # both photos of case 1 at once
    on_case(page, 1)
    assert page.locator(".photo.waits").count() == 2
    keys.press("u")
    on_case(page, 0)
    page.wait_for_selector(".photo.dropped")
    keys.press("u")
    progress(page, "0 of 10 cases done · 0 of 17 photos decided")
    assert page.locator(".photo.waits").count() == 1 and saved(clean / "review.json") == {}
    keys.press("u")
    keys.press("n")
    on_case(page, 1)


def test_a_name_is_text_and_nothing_more(page: Any, clean: Path, review: Callable[..., Review], tmp_path: Path) -> None:
    running = review(clean)
    open_list(page, running.address)
    for number in (2, 4):
        page.goto(f"{running.base}/#case/{number}")
        on_case(page, number)
        page.keyboard.press("m")
        page.keyboard.type("<script>")
        page.wait_for_selector("#move .offers >> text=window.hacked")
        page.keyboard.press("Enter")
        page.wait_for_selector(".photo.moved" if number == 4 else ".photo.kept")
    progress(page, "1 of 10 cases done · 2 of 17 photos decided")
    assert saved(clean / "review.json")[photo_name(4, 6)] == ("moved", SCRIPT)
    assert page.evaluate("window.hacked === undefined && !document.querySelector('main script')")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.photos img')].every((i) => i.complete && i.naturalWidth)"
    )


def test_a_photo_that_cannot_be_read_says_why(page: Any, clean: Path, review: Callable[..., Review]) -> None:
    running = review(clean)
    open_list(page, running.address)
    page.goto(f"{running.base}/#case/3")
    on_case(page, 3)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.photos img')].every((i) => i.complete && i.naturalWidth)"
    )
    reply = page.evaluate("fetch('/picture/3/6/small').then((answer) => answer.text())")
    words = "".join(re.findall(r">([^<]+)<", reply))  # long names are broken into lines
    assert words.startswith("missing") and words.endswith("real_00.jpg")


def test_decisions_wait_in_the_page_while_the_server_is_away(
    page: Any, heard: list[str], clean: Path, review: Callable[..., Review]
) -> None:
    first = review(clean)
    open_list(page, first.address)
    page.keyboard.press("Enter")
    on_case(page, 0)
    first.stop(signal.SIGKILL)
    page.keyboard.press("d")
    page.wait_for_selector("#trouble >> text=1 decision waits in this page")
    second = review(clean, "--port", str(first.port))
    page.goto(second.address)
    progress(page, "1 of 10 cases done · 1 of 17 photos decided")
    assert saved(clean / "review.json") == {photo_name(0, 6): ("dropped", None)}
    # Nothing but requests that failed, pictures among them, which the browser tells in words of its own.
    assert heard and all(line.startswith(f"error of {first.base}/") for line in heard), heard
    heard.clear()


def test_two_pages_write_one_file(page: Any, browser: Any, clean: Path, review: Callable[..., Review]) -> None:
    running = review(clean)
    other = browser.new_page()
    for opened, number in ((page, 0), (other, 1)):
        open_list(opened, running.address)
        opened.goto(f"{running.base}/#case/{number}")
        on_case(opened, number)
    page.keyboard.press("d")
    page.wait_for_selector("#saved >> text=saved")
    other.keyboard.press("d")
    progress(other, "1 of 10 cases done · 2 of 17 photos decided")
    other.goto(f"{running.base}/#case/0")
    on_case(other, 0)
    other.keyboard.press("k")
    other.wait_for_selector(".photo.kept")
    progress(other, "1 of 10 cases done · 2 of 17 photos decided")
    other.wait_for_selector("#saved >> text=saved")
    other.close()
    assert saved(clean / "review.json")[photo_name(0, 6)] == ("kept", None)
    assert len(saved(clean / "review.json")) == 2


@pytest.mark.parametrize("width", [1400, 900, 500])
def test_nothing_sticks_out_of_the_page(page: Any, clean: Path, review: Callable[..., Review], width: int) -> None:
    running = review(clean)
    page.set_viewport_size({"width": width, "height": 900})
    open_list(page, running.address)
    fits = "document.documentElement.scrollWidth <= window.innerWidth"
    assert page.evaluate(fits)
    page.goto(f"{running.base}/#case/2")
    on_case(page, 2)
    assert page.evaluate(fits)


def test_the_mailed_file(page: Any, clean: Path, tmp_path: Path) -> None:
    from faceverify.images import ImageLimits
    from faceverify.review.export import export

    told = export(Location(str(clean)), Location(str(tmp_path / "mail.html")), ImageLimits(), 7)
    assert "the 7 hardest of 10 cases" in told
    open_list(page, f"file://{tmp_path}/mail.html")
    page.keyboard.press("Enter")
    for case in range(3):
        on_case(page, case)
        page.keyboard.press("Enter")
    on_case(page, 3)
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("u")
    page.keyboard.press("m")
    page.keyboard.type("person 0")
    page.wait_for_selector("#move .offers >> text=person 00")
    page.keyboard.press("Escape")
    page.reload()
    on_case(page, 3)
    progress(page, "3 of 7 cases done · 6 of 12 photos decided")
    assert page.evaluate("window.hacked === undefined")
    assert page.evaluate("[...document.images].every((image) => image.src.startsWith('data:'))")
    page.click("#download")
    page.wait_for_selector("#trouble >> text=Write your name")
    page.fill("#reviewer", "Bob ../é")
    with page.expect_download() as download:
        page.click("#download")
    assert download.value.suggested_filename == "review_Bob_é.json"
    file = tmp_path / "sent_back.json"
    download.value.save_as(file)
    first_kept = {photo_name(3, 7): ("kept", None)}  # the one that stands alone is shown before the one without a face
    assert saved(file) == proposals(range(3)) | first_kept
    content = json.loads(file.read_text())
    assert (content["reviewer"], content["table"]) == ("Bob ../é", DIGEST)
