"""The page of a search."""

from html.parser import HTMLParser

from tuning.simulated import BASE, SPACE, line, search, trial

from faceverify.report import tuning_charts as charts
from faceverify.report.numbers import percent
from faceverify.report.page import ReportAbout
from faceverify.report.tuning import render_tuning, short
from faceverify.tuning.options import SearchConfig
from faceverify.tuning.space import Dimension
from faceverify.tuning.trials import Trial, pareto, ranked

CONFIG = SearchConfig(algorithm="random", trials=30)
ABOUT = ReportAbout(title="<b>Search</b>", command="python -m ray_jobs.tune", created="now")


def page(trials: list[Trial]) -> str:
    return render_tuning(trials, SPACE, CONFIG, ABOUT, {}, BASE)


def test_it_shows_every_trial_and_runs_nothing() -> None:
    trials = search()
    text = page(trials)
    assert "<script" not in text and "&lt;b&gt;Search" in text and text == page(trials)
    for one in trials:
        assert f"<title>trial {one.number}, {one.state}" in text
    assert text.count('class="curve thread genuine"') == 1
    pruned = sum(one.state != "finished" for one in trials)
    assert text.count('class="curve thread pruned"') == pruned > 5
    for one in trials:
        if one.state == "diverged":
            assert f"<tr><td>{one.number}</td>" in text.partition('id="ill"')[2]
    opened = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "img", "path", "line", "rect", "circle"):
                opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            if tag not in ("path", "circle", "rect", "line"):
                assert opened.pop() == tag

    Balance().feed(text)
    assert opened == []


def test_the_best_is_compared_with_the_trial_of_the_values_given() -> None:
    """On a grid that holds them it is not trial 0."""
    lines = [line(BASE, step) for step in range(3)]
    given = trial(30, [], values=BASE, validations=lines, best_step=2)
    assert "with the values given" not in page(search())
    assert f"{percent(lines[2]['eer'])} with the values given" in page([*search(), given])


def test_the_front_is_drawn_on_the_points_of_the_front() -> None:
    trials = search()
    front, best = pareto(trials), ranked(trials, "eer")[0]
    drawn = charts.scatter(trials, front, best)
    assert drawn.count('class="mark deepfake"') == len([one for one in front if one is not best])
    assert drawn.count("<circle") == sum(one.best is not None for one in trials)
    assert charts.scatter([], [], best) == ""


def test_names_are_as_short_as_they_can_be() -> None:
    names = ("optimiser.learning_rate", "losses.circle.margin", "losses.triplet.margin")
    space = [Dimension(name, "uniform", 0, 1) for name in names]
    assert [short(name, space) for name in names] == ["learning_rate", "circle.margin", "triplet.margin"]
