"""Some thousand files changed at random (`benchmarks.mutations`: a million): each is read, or refused."""

import pytest

from benchmarks.mutated_files import kinds
from benchmarks.mutations import OUTCOMES, outcome

KINDS = kinds()
LISTS = {"pairs.csv", "pairs.txt", "meta.json"}  # of the tests of datasets


@pytest.mark.parametrize("name", sorted(KINDS.keys() - LISTS))
def test_files_changed_at_random_are_read_or_refused(name, tmp_path, capfd):
    kind = KINDS[name]
    for file in kind.files:  # as they are, they are what the jobs read
        assert (OUTCOMES[outcome(kind, kind.finish(file), tmp_path)] == "read") == (name != "GIF"), (
            capfd.readouterr().err
        )
    found = {OUTCOMES[outcome(kind, kind.case("tests", number), tmp_path)] for number in range(400)}
    assert found == ({"refused"} if name == "GIF" else {"read", "refused"}), capfd.readouterr().err
