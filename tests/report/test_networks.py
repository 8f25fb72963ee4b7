"""The page of a comparison: all figures are in it, the best has a star, texts are escaped."""

from dataclasses import replace

from evaluation.test_networks import metrics, result

from faceverify.align.crops import parse
from faceverify.evaluation.networks import compare_networks
from faceverify.models.card import build
from faceverify.report.networks import ComparedNetwork, render_networks

CARD = build(
    name="n", architecture="tiny", colour="RGB", mean=[127.5] * 3, std=[127.5] * 3, dim=8, licence="<b>MIT</b>"
)


def test_all_is_there_and_nothing_is_markup() -> None:
    one, two = result("one", 0.2), replace(result("two<i>", 0.4, seed=1), metrics=metrics(0.2))
    networks = [
        ComparedNetwork("one", CARD, 1_500_000, 120.4, parse("arcface112")),
        ComparedNetwork("two<i>", CARD, 3_000_000, float("nan"), parse("box160:margin=14")),
    ]
    compared = compare_networks([one, two], 50, 0)
    page = render_networks([one, two], compared, networks, "faceverify compare --models a<b", "set", "0.001")
    for text in (
        "10.0% *",
        "20.0%",
        "87.5%",
        "swap",
        "box160:margin=14",
        "not measured",
        "120",
        "ViT-KPRPE",
        "of FMR 0.1 % on set",
    ):
        assert text in page, text
    assert "<b>MIT" not in page and "two<i>" not in page and "a<b" not in page
    assert "87.5% *" not in page, "where all are equal none is best"
    assert page.count("<svg") == 1 and str(compared.differences[0]).replace("two<i>", "two&lt;i&gt;") in page
