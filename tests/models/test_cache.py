"""The weights cache as it is read; `test_fetching` fills it."""

from pathlib import Path

from faceverify.models import cache


def test_default_folder(monkeypatch):
    monkeypatch.delenv("FACEVERIFY_CACHE", raising=False)
    assert cache.cache_dir() == Path.home() / ".cache/faceverify"
