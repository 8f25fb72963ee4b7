"""Folders of tiny networks, made once; without the extra `fakes` their tests are skipped."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def published(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weights cache with Arc2Face and InstantID in it."""
    for name in ("diffusers", "transformers", "peft"):
        pytest.importorskip(name, reason=f"needs {name}: pip install 'faceverify[fakes]'")
    from fakes.diffusion import tiny

    cache = tmp_path_factory.mktemp("cache")
    tiny.arc2face(golden, cache)
    tiny.instantid(golden, cache)
    return cache
