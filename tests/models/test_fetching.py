"""Filling the weights cache: complete or absent, verified, and usable offline."""

import dataclasses
import threading
import zipfile
from pathlib import Path

import pytest
import torch
from weights_server import serving

from faceverify.align import AlignConfig, build
from faceverify.errors import PlatformError, UserError
from faceverify.models import cache, checkpoints, fetching, files, registry
from faceverify.models.card import card_path
from faceverify.models.published import Archive, Published, PublishedFile


@pytest.fixture
def published(make_card, tiny, tmp_path, monkeypatch, cache_folder):
    """A registered tiny network `demo`, its file, and a function that changes the entry."""
    source = tmp_path / "source" / "demo"
    source.mkdir(parents=True)
    checkpoints.save(tiny.state_dict(), source / "demo.safetensors")
    card = make_card(name="demo", source="example.org, demo.safetensors", licence="none")
    entries = {}
    monkeypatch.setattr(registry, "entries", lambda: entries)

    def change(url=None, sha256=None, size=None, archive=None):
        file = PublishedFile(name="demo.safetensors", url=url, sha256=sha256, size=size, archive=archive)
        entries["demo"] = Published(
            name="demo",
            kind="recogniser",
            files=(file,),
            licence="none",
            commercial="yes",
            source=card.source,
            card=dataclasses.replace(card, sha256=sha256),
        )

    change()
    return source / "demo.safetensors", change


@pytest.fixture
def mirror(published, tmp_path, monkeypatch):
    """A mirror that has `demo`."""
    with serving(tmp_path / "source") as one:
        monkeypatch.setenv("FACEVERIFY_MIRROR", one.address)
        yield one


def everything(folder: Path) -> list[str]:
    """What is in the cache besides locks."""
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return [name for name in found if not name.startswith("locks/")]


def test_from_a_file(published, cache_folder):
    source, _ = published
    path = fetching.fetch("demo", source)
    assert path == cache_folder / "models/demo/demo.safetensors" == cache.locate("demo")
    assert path.read_bytes() == source.read_bytes()
    assert files.card_of(path).sha256 == files.sha256_of(source)
    assert fetching.fetch("demo", source) == path  # again is no mistake
    assert everything(cache_folder) == [
        "models/demo/demo.safetensors",
        "models/demo/demo.safetensors.card.json",
        "pinned/demo.json",
    ]


def test_a_cached_file_that_changed_is_noticed(published):
    source, _ = published
    path = fetching.fetch("demo", source)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match="was replaced"):
        files.card_of(cache.locate("demo"))


def test_download(published, mirror, cache_folder):
    source, change = published
    change(sha256=files.sha256_of(source), size=source.stat().st_size)
    assert fetching.fetch("demo").read_bytes() == source.read_bytes()
    # Nothing of a download is left, and nothing is pinned that has been published.
    assert everything(cache_folder) == ["models/demo/demo.safetensors", "models/demo/demo.safetensors.card.json"]


def test_what_is_there_is_not_fetched_again_unless_it_changed(published, mirror):
    source, change = published
    change(sha256=files.sha256_of(source))
    path = fetching.fetch("demo")
    mirror.asked.clear()
    assert fetching.fetch("demo") == path and not mirror.asked
    path.write_bytes(b"damaged")
    assert fetching.fetch("demo").read_bytes() == source.read_bytes() and len(mirror.asked) == 1


def test_a_wrong_hash_keeps_what_was_there(published, mirror, cache_folder):
    source, change = published
    path = fetching.fetch("demo", source)
    before = everything(cache_folder)
    change(sha256="0" * 64)
    for from_file in (None, source):
        with pytest.raises(UserError, match=f"{files.sha256_of(source)}.*{'0' * 64}"):
            fetching.fetch("demo", from_file)
    assert everything(cache_folder) == before and path.read_bytes() == source.read_bytes()


def test_the_first_of_an_unknown_hash_is_pinned(published, mirror, cache_folder, tiny):
    """Also when its folder was deleted meanwhile; the refusal names the file to delete."""
    source, _ = published
    fetching.fetch("demo")
    first = files.sha256_of(source)
    assert cache.pinned("demo") == {"demo.safetensors": first}
    fetching.shutil.rmtree(cache.folder_of("demo"))
    checkpoints.save({key: value + 1 for key, value in tiny.state_dict().items()}, source)
    with pytest.raises(UserError, match=rf"{files.sha256_of(source)}.*{first}.*delete .*pinned/demo\.json"):
        fetching.fetch("demo")
    assert everything(cache_folder) == ["pinned/demo.json"]
    (cache_folder / "pinned" / "demo.json").unlink()
    assert fetching.fetch("demo").read_bytes() == source.read_bytes()


def test_a_damaged_pin_is_named(published, cache_folder):
    source, _ = published
    (cache_folder / "pinned").mkdir(parents=True)
    (cache_folder / "pinned" / "demo.json").write_text("{")
    with pytest.raises(UserError, match=r"pinned/demo\.json is damaged"):
        fetching.fetch("demo", source)


def test_a_file_that_is_not_at_the_mirror_leaves_nothing(published, mirror, cache_folder):
    source, _ = published
    source.unlink()
    with pytest.raises(PlatformError, match=r"demo/demo\.safetensors: the server answers 404"):
        fetching.fetch("demo")
    assert everything(cache_folder) == []


def test_a_download_that_broke_off_goes_on(published, mirror, cache_folder):
    source, change = published
    whole = source.stat().st_size
    change(sha256=files.sha256_of(source), size=whole)
    mirror.break_at = 1000
    with pytest.raises(PlatformError, match="1,000 of"):
        fetching.fetch("demo")
    assert everything(cache_folder) == [f"downloads/demo/demo.safetensors.part{end}" for end in ("", ".json")]
    mirror.break_at = None
    assert fetching.fetch("demo").read_bytes() == source.read_bytes()
    assert mirror.asked[-1] == ("/demo/demo.safetensors", "bytes=1000-", whole - 1000)


def test_a_part_of_wrong_bytes_is_not_gone_on_with_for_ever(published, mirror, cache_folder):
    source, change = published
    change(sha256=files.sha256_of(source))
    mirror.break_at = 1000
    with pytest.raises(PlatformError):
        fetching.fetch("demo")
    mirror.break_at = None
    (cache_folder / "downloads/demo/demo.safetensors.part").write_bytes(bytes(1000))
    with pytest.raises(UserError, match="a broken one"):
        fetching.fetch("demo")
    assert fetching.fetch("demo").read_bytes() == source.read_bytes()


def test_two_at_once(published, mirror):
    """The second waits and takes what the first brought."""
    source, change = published
    change(sha256=files.sha256_of(source))
    first_is_at_it, go_on = threading.Event(), threading.Event()
    told, paths = [], []

    def slowly(done, whole):
        first_is_at_it.set()
        assert go_on.wait(60)

    def tell(sentence):
        told.append(sentence)
        go_on.set()

    first = threading.Thread(target=lambda: paths.append(fetching.fetch("demo", watch=slowly)))
    first.start()
    assert first_is_at_it.wait(60)
    paths.append(fetching.fetch("demo", tell=tell))
    first.join()
    assert told == ["Another process is fetching demo: waiting for it."]
    assert paths[0] == paths[1] and len(mirror.asked) == 1


def test_without_a_network_the_offline_recipe_is_given(published, cache_folder):
    _, change = published
    change(url="http://127.0.0.1:9/demo.safetensors")  # nobody listens on the discard port
    with pytest.raises(PlatformError, match=r"127\.0\.0\.1:9.*refused.*fetch demo --from FILE"):
        fetching.fetch("demo")
    assert everything(cache_folder) == []


def test_offline_nothing_is_asked_for(published, mirror, monkeypatch):
    source, _ = published
    monkeypatch.setenv("FACEVERIFY_OFFLINE", "1")
    with pytest.raises(UserError, match=r"FACEVERIFY_OFFLINE is set.*fetch demo --from FILE"):
        fetching.fetch("demo")
    assert not mirror.asked
    assert fetching.fetch("demo", source) == cache.locate("demo")


def test_a_model_without_address_says_so(published):
    with pytest.raises(UserError, match=r"no direct address.*example\.org.*fetch demo --from FILE"):
        fetching.fetch("demo")


# -- members of zip files -------------------------------------------------------------------------------------------


def pack(source, *names, **more):
    """A zip file with the file under these names."""
    path = source.parent / "pack.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("other.onnx", b"other")
        for name in names:
            zipped.write(source, name)
    facts = {"member": source.name, "size": path.stat().st_size, "sha256": files.sha256_of(path)} | more
    return path, Archive(**facts)


@pytest.fixture
def packed(published, monkeypatch, tmp_path):
    """Serves the pack of `demo` at its own address, which only tests may give as http; change it with the function."""
    source, change = published

    with serving(tmp_path / "source") as server:

        def described(*names, **more):
            _, archive = pack(source, *names, **more)
            change(f"{server.address}/demo/pack.zip", files.sha256_of(source), source.stat().st_size, archive)

        yield source, described, server


@pytest.mark.parametrize("name", ["demo.safetensors", "pack/demo.safetensors"])
def test_a_member_is_taken_out(name, packed, cache_folder):
    source, described, _ = packed
    described(name)
    assert fetching.fetch("demo").read_bytes() == source.read_bytes()
    assert everything(cache_folder) == ["models/demo/demo.safetensors", "models/demo/demo.safetensors.card.json"]


@pytest.mark.parametrize("names", [(), ("demo.safetensors", "again/demo.safetensors")])
def test_a_pack_without_the_member_or_with_two(names, packed):
    _, described, _ = packed
    described(*names)
    with pytest.raises(PlatformError, match=r"must hold one file demo\.safetensors"):
        fetching.fetch("demo")


def test_a_pack_of_another_sum_is_not_opened(packed):
    _, described, _ = packed
    described("demo.safetensors", sha256="1" * 64)
    with pytest.raises(PlatformError, match=r"pack\.zip has SHA-256 .*1{64} is published"):
        fetching.fetch("demo")


def test_a_member_larger_than_it_should_be_is_not_written(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("demo.onnx", bytes(10 << 20))
    with pytest.raises(PlatformError, match="1,000 bytes at most"):
        fetching.take_out(path, "demo.onnx", tmp_path / "out", 1000)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_zip(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"no zip")
    with pytest.raises(PlatformError, match=r"cannot be taken out of .*x\.zip"):
        fetching.take_out(tmp_path / "x.zip", "demo.onnx", tmp_path / "out", 1000)


def test_a_mirror_has_the_member_itself(published, mirror):
    source, change = published
    _, archive = pack(source, "demo.safetensors")
    change("https://example.org/pack.zip", files.sha256_of(source), None, archive)
    assert fetching.fetch("demo").read_bytes() == source.read_bytes()
    assert [path for path, _, _ in mirror.asked] == ["/demo/demo.safetensors"]


# -- what is accepted -----------------------------------------------------------------------------------------------


def test_another_network_is_not_accepted(published, cache_folder, tmp_path):
    other = tmp_path / "other.pt"
    torch.save(checkpoints.build("tiny", 16).state_dict(), other)
    with pytest.raises(UserError, match="tiny with 16 dimensions"):
        fetching.fetch("demo", other)
    assert everything(cache_folder) == []


def test_original_adaface_is_not_accepted_as_the_rgb_copy(published, tiny, cache_folder, tmp_path):
    """The same weights in the container of the original release are BGR; the entry says RGB."""
    other = tmp_path / "adaface.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in tiny.state_dict().items()}}, other)
    with pytest.raises(UserError, match="weights take BGR"):
        fetching.fetch("demo", other)
    assert everything(cache_folder) == []


def test_locate_names_folder_and_recipe(published, cache_folder):
    with pytest.raises(UserError) as caught:
        cache.locate("demo")
    for part in ("example.org, demo.safetensors", str(cache_folder), "fetch demo --from FILE"):
        assert part in str(caught.value)


def test_one_sentence_names_the_one_command_for_all_that_is_missing(cache_folder, shared_data):
    with pytest.raises(UserError) as caught:
        cache.require(["yunet", "sface", "yunet"])
    where = f"not in the cache {cache_folder}"
    assert (
        str(caught.value) == f"The weights of yunet and sface are {where}: run `faceverify models fetch yunet sface`."
    )
    by_hand = "run `faceverify models fetch yunet`; `faceverify models fetch mobilefacenet_y1 --from FILE`"
    with pytest.raises(UserError, match=by_hand):
        cache.require(["yunet", "mobilefacenet_y1"])
    fetching.fetch("yunet_2026may", shared_data / "models/face_detection_yunet_2026may.onnx")
    cache.require(["yunet_2026may"])


# -- detectors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yunet_2026may", "face_detection_yunet_2026may.onnx"),
        ("scrfd_2.5g", "scrfd_2.5g_bnkps.onnx"),
        ("retinaface_mobilenet0.25", "pytorch_retinaface_mobilenet0.25_Final.pth"),
        ("retinaface_mobilenet0.25_1mb", "retinaface_1mb_mobilenet0.25_Final.pth"),
        ("mtcnn", ""),
    ],
)
def test_a_detector_by_its_name_is_that_of_its_file(name, file, cache_folder, shared_data):
    method = registry.get(name).method
    given = shared_data / "models" / file
    with pytest.raises(UserError, match=f"models fetch {name}`"):
        build(AlignConfig(method=method, weights=name))
    fetching.fetch(name, given)
    by_path = build(AlignConfig(method=method, weights=str(given)))
    assert build(AlignConfig(method=method, weights=name)).name == by_path.name


def test_no_weights_are_the_methods_own(cache_folder, shared_data):
    fetching.fetch("mtcnn", shared_data / "models")
    fetching.fetch("scrfd_2.5g", shared_data / "models/scrfd_2.5g_bnkps.onnx")
    assert build(AlignConfig(method="mtcnn")).name.startswith("mtcnn-")
    assert build(AlignConfig(method="scrfd")).name == "scrfd-bc24bb349491"
    with pytest.raises(UserError, match="fetch yunet`"):
        build(AlignConfig())


def test_a_detector_in_the_cache_that_was_replaced_is_noticed(cache_folder, shared_data):
    path = fetching.fetch("yunet_2026may", shared_data / "models/face_detection_yunet_2026may.onnx")
    path.write_bytes((shared_data / "models/scrfd_2.5g_bnkps.onnx").read_bytes())
    with pytest.raises(UserError, match=r"not what was fetched as yunet_2026may.*fetch yunet_2026may"):
        build(AlignConfig(weights="yunet_2026may"))


def test_a_folder_without_all_three_is_refused(cache_folder, tmp_path):
    with pytest.raises(UserError, match=r"one file named \*pnet\.pt, but has 0"):
        fetching.fetch("mtcnn", tmp_path)


def test_another_detector_of_an_unknown_hash_is_tried(cache_folder, tmp_path):
    """dfa has no published sum: what comes must at least be such a network."""
    checkpoints.save({"weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="is not a dfa network"):
        fetching.fetch("dfa_mobilenet", tmp_path / "model.safetensors")
    assert everything(cache_folder) == []


def test_interrupted_copy_is_invisible(published, cache_folder, monkeypatch):
    source, _ = published

    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching.shutil, "copyfile", dies)
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch("demo", source)
    assert everything(cache_folder) == []
    assert not card_path(cache_folder / "models/demo/demo.safetensors").exists()
