"""scores.csv: the columns asked for, in order, every value surviving the way through a CSV reader."""

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from faceverify import tables
from faceverify.errors import UserError
from faceverify.scoring.csv_output import CsvConfig, chosen_columns, write_csv
from faceverify.storage import Location, open_location

NAMES = tables.SCORES.names


def scores(pairs: list[str], similarity: list[float | None] | None = None) -> pa.Table:
    values = {"pair": pairs, "photo_a": pairs, "photo_b": pairs, "status": ["ok"] * len(pairs)}
    values["similarity"] = similarity if similarity is not None else [0.5] * len(pairs)
    columns = [
        pa.array(values[f.name], f.type) if f.name in values else pa.nulls(len(pairs), f.type) for f in tables.SCORES
    ]
    return pa.table(columns, schema=tables.SCORES)


def written(folder: Path, table: pa.Table, config: CsvConfig, pieces: int = 2) -> list[list[str]]:
    """The CSV's rows as Python's own reader sees them."""
    target = Location(str(folder / "scores.csv"))
    step = max(1, -(-table.num_rows // pieces))
    write_csv(target, (table.slice(i, step) for i in range(0, table.num_rows, step)), config, table.schema)
    with open(target.path, newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_all_columns_in_order(tmp_path: Path) -> None:
    header, *rows = written(tmp_path, scores(["a", "b", "c"]), CsvConfig())
    assert header == [name for name in NAMES if name != "scored_with"] and [row[0] for row in rows] == ["a", "b", "c"]
    assert [path.name for path in tmp_path.iterdir()] == ["scores.csv"]


def test_challenge_preset_and_fill(tmp_path: Path) -> None:
    table = scores(["7", "8", "9"], [0.25, None, -1.0])
    assert written(tmp_path, table, CsvConfig(preset="challenge")) == [
        ["pair_id", "similarity"], ["7", "0.25"], ["8", ""], ["9", "-1"],
    ]  # fmt: skip
    filled = written(tmp_path, table, CsvConfig(preset="challenge", fill=-2.0))
    assert [row[1] for row in filled] == ["similarity", "0.25", "-2", "-1"]


def test_columns_are_chosen_renamed_and_ordered(tmp_path: Path) -> None:
    config = CsvConfig(preset="challenge", columns=("status", "similarity=score", "pair"))
    assert written(tmp_path, scores(["x"]), config) == [["status", "score", "pair"], ["ok", "0.5", "x"]]
    with pytest.raises(UserError, match=r"csv\.columns: the scores have no column 'similarty'"):
        chosen_columns(CsvConfig(columns=("similarty",)), tables.SCORES)


def test_fill_without_the_column_similarity(tmp_path: Path) -> None:
    config = CsvConfig(columns=("pair",), fill=0.0)
    assert written(tmp_path, scores(["x"], [None]), config) == [["pair"], ["x"]]


TEXT = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r"), min_size=1, max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXT, max_size=8, unique=True))
def test_any_name_survives(tmp_path: Path, names: list[str]) -> None:
    rows = written(tmp_path, scores(names), CsvConfig(columns=("pair", "photo_a", "similarity")))
    assert [row[:2] for row in rows[1:]] == [[name, name] for name in names]


def test_float32_similarities_come_back_exactly(tmp_path: Path) -> None:
    exact = [0.1, 1 / 3, 0.91043615, -1e-7, 1.0]
    table = scores([str(i) for i in range(5)], exact)
    written(tmp_path, table, CsvConfig())
    types = pa_csv.ConvertOptions(column_types={"similarity": pa.float32()})
    assert pa_csv.read_csv(tmp_path / "scores.csv", convert_options=types)["similarity"].equals(table["similarity"])


def test_dictionary_columns_are_written_as_text(tmp_path: Path) -> None:
    table = scores(["a", "b"])
    table = table.set_column(1, "photo_a", table["photo_a"].dictionary_encode())
    rows = written(tmp_path, table, CsvConfig(columns=("pair",)))
    assert rows == [["pair"], ["a"], ["b"]]
    target = Location(str(tmp_path / "dictionary.csv"))
    write_csv(target, [table], CsvConfig(columns=("photo_a",)), tables.SCORES)
    assert Path(target.path).read_text() == '"photo_a"\n"a"\n"b"\n'


def test_an_interrupted_csv_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "scores.csv").write_text("old")

    def broken():
        yield scores(["a"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_csv(Location(str(tmp_path / "scores.csv")), broken(), CsvConfig(), tables.SCORES)
    assert (tmp_path / "scores.csv").read_text() == "old"


def test_the_same_on_s3(bucket: str) -> None:
    target = open_location(f"s3://{bucket}/out/scores.csv")
    write_csv(target, [scores(["a"])], CsvConfig(preset="challenge"), tables.SCORES)
    assert target.read_bytes() == b'"pair_id","similarity"\n"a",0.5\n'
