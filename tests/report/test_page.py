"""The page is whole, offline, inert, and the same for the same input."""

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from faceverify.evaluation.measure import Evaluation, EvaluationConfig, evaluate
from faceverify.report.numbers import percent
from faceverify.report.page import Picture, ReportAbout, Section, Table, render_report
from faceverify.report.thumbnails import thumbnail
from faceverify.tables import SCORES

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
ABOUT = ReportAbout(title="A report", command="python -m ray_jobs.evaluate", created="2026-11-24")
JPEG = thumbnail(np.full((200, 150, 3), 128, np.uint8))


class Page(HTMLParser):
    """Elements with their attributes, and whether tags are balanced."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID or (
            tag == "path" and self.get_starttag_text() and not self.get_starttag_text().endswith("/>")
        ):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def scores(name: str = "p", generator: str | None = "ghost", negatives: str = "impostor") -> pa.Table:
    rng = np.random.default_rng(0)
    parts = [("genuine", None, 0.6), (negatives, None, 0.0)] + ([("deepfake", generator, 0.5)] if generator else [])
    rows = [
        {
            "pair": f"{kind}{i}{name}",
            "photo_a": f"{name}{i}/a.jpg",
            "photo_b": f"{name}{i}/b.jpg",
            "label": int(kind == "genuine"),
            "kind": kind,
            "generator": made_by,
            "person_a": f"{name}{i % 9}",
            "person_b": f"{name}{(i + 1) % 9 if kind == 'impostor' else i % 9}",
            "similarity": float(rng.normal(mean, 0.15)),
            "status": "ok" if i else "no_face",
        }
        for kind, made_by, mean in parts
        for i in range(60)
    ]
    return pa.Table.from_pylist(rows, schema=SCORES)


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(scores(), EvaluationConfig(replicates=20, worst_pairs=2), created="2026-11-24")


def test_the_page_is_well_formed_and_says_the_numbers(evaluation: Evaluation) -> None:
    page = Page(render_report(evaluation, ABOUT, {}))
    assert page.open == []
    assert "threshold" in page.text
    assert "python -m ray_jobs.evaluate" in page.text
    assert "ghost" in page.text
    assert "no_face" in page.text
    assert "not supported: needs 1,000" in re.sub(r"\s+", " ", page.text)
    assert len(page.of("h1")) == 1


def test_it_loads_nothing_and_runs_nothing(evaluation: Evaluation) -> None:
    text = render_report(evaluation, ABOUT, {photo: JPEG for photo in evaluation.photos})
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") or name == "style" for name in attributes), tag
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("data:", "#")), (tag, attributes)
    assert "url(" not in text.replace("url(#det-frame)", "")


def test_the_policy_allows_the_page_its_own_style_and_no_more(evaluation: Evaluation) -> None:
    text = render_report(evaluation, ABOUT, {})
    policy = next(meta["content"] or "" for meta in Page(text).of("meta") if "http-equiv" in meta)
    style = text.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "script" not in policy


def test_hostile_names_do_nothing() -> None:
    result = evaluate(scores(HOSTILE, HOSTILE), EvaluationConfig(replicates=5, worst_pairs=2))
    about = ReportAbout(
        title=HOSTILE,
        command=HOSTILE,
        created=HOSTILE,
        summary=HOSTILE,
        inputs={HOSTILE: HOSTILE},
        versions={HOSTILE: HOSTILE},
        model_card={HOSTILE: HOSTILE},
        sections=(
            Section(
                title=HOSTILE,
                paragraphs=(HOSTILE,),
                pictures=(Picture(image=JPEG, caption=HOSTILE),),
                table=Table(columns=(HOSTILE,), rows=((HOSTILE,),)),
            ),
        ),
    )
    page = Page(render_report(result, about, {}))
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.elements}
    assert not any("onerror" in attributes for _, attributes in page.elements)
    assert page.text.count("<script>alert(1)</script>") > 10  # it is there, as text


def test_thumbnails_are_embedded_and_missing_ones_marked(evaluation: Evaluation) -> None:
    photo = evaluation.photos[0]
    page = Page(render_report(evaluation, ABOUT, {photo: JPEG}))
    images = page.of("img")
    assert images
    assert {image["alt"] for image in images} == {photo}
    assert base64.b64decode((images[0]["src"] or "").split(",")[1]) == JPEG
    assert "no picture" in page.text


def test_the_data_of_every_chart_can_be_saved(evaluation: Evaluation) -> None:
    links = {
        a["download"]: a["href"] or "" for a in Page(render_report(evaluation, ABOUT, {})).of("a") if "download" in a
    }
    assert links.keys() == {"scores_histogram.csv", "det_curves.csv", "metrics.json", "metrics.csv", "calibration.json"}
    content = {name: base64.b64decode(href.split(",")[1]).decode() for name, href in links.items()}
    assert json.loads(content["metrics.json"])["eer"] == evaluation.eer
    counts = [int(line.rsplit(",", 1)[1]) for line in content["scores_histogram.csv"].splitlines()[1:]]
    assert sum(counts) == 3 * 59
    assert content["det_curves.csv"].startswith("kind,generator,threshold,accepted,fnmr\n")


def test_same_input_same_page(evaluation: Evaluation) -> None:
    assert render_report(evaluation, ABOUT, {}) == render_report(evaluation, ABOUT, {})


def test_own_sections_come_before_the_results(evaluation: Evaluation) -> None:
    section = Section(title="What this is", paragraphs=("Drawn faces.",), table=Table(columns=("n",), rows=((3,),)))
    text = render_report(evaluation, dataclasses.replace(ABOUT, sections=(section,)), {})
    assert text.index("What this is") < text.index('id="scores"')
    assert '<td class="n">3</td>' in text


@pytest.mark.parametrize("generator", ["ghost", None])
def test_pages_are_made_for_missing_classes_too(generator: str | None) -> None:
    full = scores(generator=generator)
    kinds = full["kind"].to_pylist()
    for kept in ({"genuine"}, {"genuine", "impostor"}, {"impostor"}, {"genuine", "deepfake"}, {"deepfake"}):
        part = full.filter(pa.array([kind in kept for kind in kinds]))
        if not part.num_rows:
            continue
        result = evaluate(part, EvaluationConfig(replicates=5, worst_pairs=0))
        page = Page(render_report(result, ABOUT, {}))
        assert page.open == []
        assert "None were asked for" in page.text


def test_folds_have_their_table(evaluation: Evaluation) -> None:
    table = scores(generator=None)
    folded = table.append_column("fold", pa.array(np.arange(table.num_rows) % 4))
    page = Page(render_report(evaluate(folded, EvaluationConfig(replicates=0)), ABOUT, {}))
    assert "Accuracy over 4 folds" in page.text


def test_pictures_must_be_pictures(evaluation: Evaluation) -> None:
    with pytest.raises(ValueError, match="JPEG or PNG"):
        render_report(evaluation, ABOUT, {evaluation.photos[0]: b"GIF89a"})


def test_before_and_after_are_told_with_pictures(evaluation: Evaluation) -> None:
    from faceverify.evaluation.comparison import compare

    before = scores()
    similar = np.where(np.array(before["kind"].to_pylist()) == "deepfake", 0.9, before["similarity"].to_numpy())
    place = before.column_names.index("similarity")
    before = before.set_column(place, SCORES.field("similarity"), pa.array(similar, pa.float32()))
    was = evaluate(before, EvaluationConfig(replicates=0))
    change = compare((before, was), (scores(), evaluation), 3)
    assert change is not None and change.fixed.pairs > 0
    thumbnails = {photo: JPEG for photo in change.photos}
    text = render_report(evaluation, ABOUT, thumbnails, change)
    page = Page(text)
    assert page.open == []
    section = text[text.index('<section id="before-and-after">') :].split("</section>")[0]
    shown = [pair for one in (change.fixed, change.not_fixed, change.lost) for pair in one.shown]
    assert section.count("<img") == 2 * len(shown) > 0
    assert f"Fixed: deepfakes that passed before and are refused now ({change.fixed.pairs})" in section
    assert f"{percent(was.eer)} before" in text
    assert "Before and after" not in render_report(evaluation, ABOUT, {})
