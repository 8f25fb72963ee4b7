"""The files of generators: one that is missing is named early, another model refused, an unknown one told of."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import graphs
from onnx import helper

from faceverify.errors import UserError
from faceverify.fakes import GENERATORS, build
from faceverify.fakes.weights import check_file, located, remarks
from faceverify.models import cache, fetching, registry


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("FACEVERIFY_CACHE", str(tmp_path / "cache"))
    return tmp_path


def described(*names: str) -> list:
    """Generators that are given no embedding, so that nothing is missing but their own files."""
    return [replace(GENERATORS[name], identity=None) for name in names]


def test_one_sentence_names_generator_file_publisher_and_place(home):
    with pytest.raises(UserError) as caught:
        located([GENERATORS["inswapper"], GENERATORS["self_blend"], GENERATORS["ghost"]])
    sentence = str(caught.value)
    for part in (
        "generators: inswapper needs inswapper_128.onnx and w600k_r50.onnx, ghost needs G_unet_2blocks.pth and ",
        f"not in the cache {home / 'cache'}",
        "`faceverify models fetch inswapper_128 --from FILE` with the file of InsightFace, inswapper_128.onnx",
        "`faceverify models fetch w600k_r50 ghost_unet_2blocks ghost_backbone 2d106det`",
    ):
        assert part in sentence, sentence
    assert sentence.count(". ") == 0 and "\n" not in sentence
    with pytest.raises(UserError, match=r"ghost needs G_unet_2blocks\.pth"):
        build(GENERATORS["ghost"])


def test_what_is_found_is_named_by_its_content(home):
    sums = {}
    for name in ("ghost_1_256", "crossface_ghost"):
        sums[name] = graphs.write(graphs.published(name), home / f"{name}.onnx")
        fetching.fetch(name, home / f"{name}.onnx")
    self_blend, ghost = located([GENERATORS["self_blend"], *described("ghost_1_256")])
    assert self_blend is GENERATORS["self_blend"]
    assert {file.name: file.sha256 for file in ghost.weights} == sums
    assert all(Path(file.uri).read_bytes() == (home / f"{file.name}.onnx").read_bytes() for file in ghost.weights)
    assert located([ghost]) == (ghost,), "it is not looked for twice"


def test_a_file_may_be_put_into_its_folder_by_hand(home):
    sha256 = graphs.write(graphs.published("uniface_256"), cache.folder_of("uniface_256") / "as_it_was_called.onnx")
    [found] = located([GENERATORS["uniface_256"]])
    assert [file.sha256 for file in found.weights] == [sha256]


def test_the_licence_is_told_once_and_an_unknown_file_with_its_sum(home, monkeypatch):
    told: list[str] = []
    for name in ("hyperswap_1a_256", "crossface_ghost", "ghost_1_256", "ghost_2_256"):
        graphs.write(graphs.published(name), home / f"{name}.onnx")
        fetching.fetch(name, home / f"{name}.onnx", tell=told.append)
    found = located(described("hyperswap_1a_256", "ghost_1_256", "ghost_2_256"))
    lines = remarks(found)
    sums = {file.name: file.sha256 for needs in found for file in needs.weights}
    for name, sha256 in sums.items():
        [licence] = [line for line in lines if line.startswith(f"{name}: licence ")]
        assert registry.get(name).licence in licence
        [warning] = [line for line in lines if line.startswith(f"Warning: {name} has SHA-256 {sha256}, ")]
        assert warning in told, "it was told when the file came, too"
    assert len(lines) == 2 * len(sums) and "no commercial use" in lines[0]
    # A file that is known, and another one of the same name that is known.
    published = registry.get("hyperswap_1a_256")
    for known in (
        replace(published.files[0], sha256=sums["hyperswap_1a_256"]),
        replace(published.files[0], others=(sums["hyperswap_1a_256"],)),
    ):
        entries = dict(registry.entries()) | {published.name: replace(published, files=(known,))}
        monkeypatch.setattr(registry, "entries", lambda entries=entries: entries)
        assert not any("Warning: hyperswap" in line for line in remarks(found))


def test_another_model_is_refused_before_it_is_kept(home):
    graphs.write(graphs.published("ghost_1_256"), home / "x.onnx")
    for name, wanted in (
        ("inswapper_128", r"target \[N, 3, 128, 128\], source \[N, 512\] and give \[N, 3, 128, 128\]"),
        ("simswap_unofficial_512", r"target \[N, 3, 512, 512\]"),
        ("blendswap_256", r"source \[N, 3, 112, 112\]"),
        ("crossface_ghost", r"input \[N, 512\] and give \[N, 512\]"),
        ("2d106det", r"data \[N, 3, 192, 192\] and give \[N, 212\]"),
    ):
        with pytest.raises(UserError, match=rf"x\.onnx is another model: it must take .*{wanted}.*but takes target"):
            check_file(name, home / "x.onnx")
        with pytest.raises(UserError, match=r"is another model"):
            fetching.fetch(name, home / "x.onnx")
        assert cache.find(name) is None
    graphs.write(graphs.converter(), home / "y.onnx")
    with pytest.raises(UserError, match=r"y\.onnx is another model.*but takes input \[1, 512\]"):
        check_file("ghost_1_256", home / "y.onnx")


def test_inswapper_without_its_table_is_refused(home):
    row = graphs.SWAPPERS["inswapper"]
    graphs.write(graphs.swapper(row), home / "x.onnx")
    with pytest.raises(UserError, match=r"x\.onnx lacks the table of 512x512 .*simplified"):
        check_file("inswapper_128", home / "x.onnx")
    model = graphs.swapper(row, table=graphs.table())
    model.graph.initializer.append(helper.make_tensor("behind", 1, [1], [0.0]))  # a table that is not the last constant
    graphs.write(model, home / "y.onnx")
    check_file("inswapper_128", home / "y.onnx")
    next(one for one in model.graph.initializer if one.name == "buff2fs").name = "any"
    graphs.write(model, home / "y.onnx")
    with pytest.raises(UserError, match="lacks the table"):
        check_file("inswapper_128", home / "y.onnx")


def test_a_truncated_file_is_refused(home):
    graphs.write(graphs.published("inswapper_128"), home / "x.onnx")
    whole = (home / "x.onnx").read_bytes()
    (home / "x.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"x\.onnx is damaged or no ONNX file \(it is cut off\)"):
        fetching.fetch("inswapper_128", home / "x.onnx")
    (home / "z.pth").write_bytes(b"PK\x03\x04 no more of it")
    with pytest.raises(UserError, match=r"z\.pth is damaged or no PyTorch checkpoint"):
        fetching.fetch("ghost_backbone", home / "z.pth")


def test_an_unknown_graph_is_tried_in_a_process_of_its_own(home, monkeypatch):
    """One that asks for more memory than its size allows ends the child and not this process."""
    from faceverify.fakes import Weights

    model = graphs.swapper(graphs.SWAPPERS["hyperswap_1a_256"])
    shape = helper.make_tensor("vast", 7, [1], [1 << 40])
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["vast"], ["room"]))
    model.graph.node.append(helper.make_node("ReduceSum", ["room"], ["sum"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["picture", "sum"], ["last"]))
    model.graph.output[0].name = "last"
    graphs.write(model, home / "x.onnx")
    [needs] = described("hyperswap_1a_256")
    with pytest.raises(UserError, match=r"ONNX Runtime cannot load .*x\.onnx"):
        build(replace(needs, weights=(Weights("hyperswap_1a_256", str(home / "x.onnx"), "0" * 64),)))


@pytest.mark.parametrize("name", ["ghost_1_256", "uniface_256"])
def test_a_sound_graph_passes_that_try(home, name):
    graphs.write(graphs.published(name), home / "x.onnx")
    graphs.write(graphs.converter(), home / "y.onnx")
    from faceverify.fakes import Weights

    [needs] = described(name)
    found = tuple(Weights(n, str(home / f), "0" * 64) for n, f in zip(needs.files, ("x.onnx", "y.onnx"), strict=False))
    assert build(replace(needs, weights=found)).description.name == name
