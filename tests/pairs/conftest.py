import pyarrow as pa
import pytest

from faceverify.tables import PHOTOS


@pytest.fixture(scope="session")
def photos_of():
    """A photos table from {person: (real photos, fakes)}, or {person: (real, fakes, split)}."""

    def make(people):
        rows = []
        for person, (real, fake, *split) in people.items():
            for i in range(real + fake):
                rows.append(
                    {
                        "photo": f"{person}/{i}.jpg",
                        "uri": f"/photos/{person}/{i}.jpg",
                        "person": person,
                        "is_fake": i >= real,
                        "generator": "swap" if i >= real else None,
                        "split": split[0] if split else None,
                    }
                )
        return pa.Table.from_pylist(rows, PHOTOS)

    return make
