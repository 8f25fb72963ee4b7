"""Ray Data's own statistics as entries of a manifest."""

import pyarrow as pa

from ray_jobs.engine.operators import operators_of


def twice(rows: pa.Table) -> pa.Table:
    return pa.concat_tables([rows, rows])


class Same:
    def __call__(self, rows: pa.Table) -> pa.Table:
        return rows


def test_each_operator_with_its_rows_in_order(cluster: object) -> None:
    import ray

    pool = ray.data.ActorPoolStrategy(size=1)
    dataset = ray.data.from_arrow([pa.table({"x": [k, k]}) for k in range(3)])
    dataset = dataset.map_batches(twice, batch_size=None, batch_format="pyarrow", num_cpus=0.4)
    dataset = dataset.map_batches(Same, batch_size=None, batch_format="pyarrow", compute=pool, num_cpus=0.3)
    assert operators_of(dataset) == []
    assert sum(1 for _ in dataset.iter_rows()) == 12
    ran = {one["operator"]: one for one in operators_of(dataset)}
    assert list(ran)[-2:] == ["MapBatches(twice)", "MapBatches(Same)"]
    assert [ran[f"MapBatches({name})"]["rows"] for name in ("twice", "Same")] == [12, 12]
    assert ran["MapBatches(twice)"]["tasks"] == 3 and ran["MapBatches(twice)"]["seconds"] >= 0
