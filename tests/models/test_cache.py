"""The weights cache: complete or absent, verified, and usable offline."""

import contextlib
import dataclasses
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from faceverify.errors import PlatformError, UserError
from faceverify.models import cache, checkpoints, files, registry
from faceverify.models.card import card_path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass

    def end_headers(self):
        if "broken_off" in self.path:
            self.headers_buffer = [h for h in self.headers_buffer if not h.startswith(b"Content-Length")]
            self.send_header("Content-Length", "99999999")
        super().end_headers()


@contextlib.contextmanager
def serving(folder: Path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def published(make_card, tiny, tmp_path, monkeypatch, cache_folder):
    """A registered tiny network `demo`, its file, and a function that changes the entry."""
    source = tmp_path / "source"
    source.mkdir()
    checkpoints.save(tiny.state_dict(), source / "demo.safetensors")
    card = make_card(name="demo", source="example.org, demo.safetensors", licence="none")
    entry = registry.Published(card=card, file_name="demo.safetensors", url=None)
    entries = {"demo": entry}
    monkeypatch.setattr(registry, "entries", lambda: entries)

    def change(url=None, sha256=None):
        entries["demo"] = dataclasses.replace(entry, url=url, card=dataclasses.replace(card, sha256=sha256))

    return source / "demo.safetensors", change


def everything(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_from_a_file(published, cache_folder):
    source, _ = published
    path = cache.fetch("demo", source)
    assert path == cache_folder / "models/demo/demo.safetensors" == cache.locate("demo")
    assert path.read_bytes() == source.read_bytes()
    assert files.card_of(path).sha256 == files.sha256_of(source)
    assert cache.fetch("demo", source) == path  # again is no mistake
    assert everything(cache_folder) == ["models/demo/demo.safetensors", "models/demo/demo.safetensors.card.json"]


def test_a_cached_file_that_changed_is_noticed(published):
    source, _ = published
    path = cache.fetch("demo", source)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UserError, match="was replaced"):
        files.card_of(cache.locate("demo"))


def test_download(published, cache_folder):
    source, change = published
    with serving(source.parent) as url:
        change(url=f"{url}/demo.safetensors", sha256=files.sha256_of(source))
        assert cache.fetch("demo").read_bytes() == source.read_bytes()


def test_a_wrong_hash_keeps_what_was_there(published, cache_folder):
    source, change = published
    path = cache.fetch("demo", source)
    before = everything(cache_folder)
    with serving(source.parent) as url:
        change(url=f"{url}/demo.safetensors", sha256="0" * 64)
        for from_file in (None, source):
            with pytest.raises(UserError, match=f"{files.sha256_of(source)}.*{'0' * 64}"):
                cache.fetch("demo", from_file)
    assert everything(cache_folder) == before and path.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("file_name", ["missing.safetensors", "broken_off.safetensors"])
def test_a_failed_download_leaves_nothing(file_name, published, cache_folder):
    source, change = published
    source.rename(source.with_name("broken_off.safetensors"))
    with serving(source.parent) as url:
        change(url=f"{url}/{file_name}")
        with pytest.raises(PlatformError, match=file_name):
            cache.fetch("demo")
    assert everything(cache_folder) == []


def test_without_a_network_the_offline_recipe_is_given(published, cache_folder):
    _, change = published
    change(url="http://127.0.0.1:9/demo.safetensors")  # nobody listens on the discard port
    with pytest.raises(PlatformError, match=r"127\.0\.0\.1:9.*cache.*fetch demo --from FILE"):
        cache.fetch("demo")
    assert everything(cache_folder) == []


def test_a_model_without_address_says_so(published):
    with pytest.raises(UserError, match=r"no direct address.*example\.org.*fetch demo --from FILE"):
        cache.fetch("demo")


def test_another_network_is_not_accepted(published, cache_folder, tmp_path):
    other = tmp_path / "other.pt"
    torch.save(checkpoints.build("tiny", 16).state_dict(), other)
    with pytest.raises(UserError, match="tiny with 16 dimensions"):
        cache.fetch("demo", other)
    assert everything(cache_folder) == []


def test_original_adaface_is_not_accepted_as_the_rgb_copy(published, tiny, cache_folder, tmp_path):
    """The same weights in the container of the original release are BGR; the entry says RGB."""
    other = tmp_path / "adaface.ckpt"
    torch.save({"state_dict": {f"model.{k}": v for k, v in tiny.state_dict().items()}}, other)
    with pytest.raises(UserError, match="weights take BGR"):
        cache.fetch("demo", other)
    assert everything(cache_folder) == []


def test_locate_names_file_folder_and_recipe(published, cache_folder):
    with pytest.raises(UserError) as caught:
        cache.locate("demo")
    for part in ("demo.safetensors", str(cache_folder), "fetch demo --from FILE"):
        assert part in str(caught.value)


def test_interrupted_copy_is_invisible(published, cache_folder, monkeypatch):
    source, _ = published

    def dies(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(cache.shutil, "copyfile", dies)
    with pytest.raises(KeyboardInterrupt):
        cache.fetch("demo", source)
    assert everything(cache_folder) == []
    assert not card_path(cache_folder / "models/demo/demo.safetensors").exists()


def test_default_folder(monkeypatch):
    monkeypatch.delenv("FACEVERIFY_CACHE", raising=False)
    assert cache.cache_dir() == Path.home() / ".cache/faceverify"
