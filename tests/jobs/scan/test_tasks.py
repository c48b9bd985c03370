from __future__ import annotations

import json

import pyarrow as pa

from aimds.jobs.scan.inputs import Source
from aimds.jobs.scan.reading import Slice
from aimds.jobs.scan.tasks import Job, Limits, Task, pack_schema
from aimds.schema import VERDICTS


def test_a_task_crosses_to_a_worker_and_back_unchanged() -> None:
    job = Job(
        source=Source("/logs/a.parquet", "", "a.parquet", "parquet"),
        identity={"size": 3, "mtime_ns": 10**18, "tail": "x"},
        used={"text": "prompt", "session_id": "s"},
        carry=("n", "s"),
        with_text=True,
        schema=pack_schema(pa.schema([*VERDICTS, pa.field("n", pa.decimal128(9, 2))])),
        folder="/out/.aimds/1",
        output="/out/a.parquet",
        key="k",
        limits=Limits(batch_rows=7),
    )
    assert job.columns == ["prompt", "s", "n"]
    assert job.output_schema.field("n").type == pa.decimal128(9, 2)
    for task in (Task(job), Task(job, 4, Slice(1, 2, 3, 4, 5))):
        assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task
