"""Screening as a step of a Ray Data pipeline: ``dataset.map_batches(Screened, batch_format="pyarrow", …)``.

Only for pipelines that are built on Ray Data already; `aimds scan --ray` does the same job faster and can be resumed.
This module does not import Ray: Ray Data calls the class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from aimds.errors import SchemaError
from aimds.jobs.scan import rows, shipped
from aimds.jobs.scan.tasks import Factory
from aimds.schema import REQUESTS
from aimds.sources import batches


class Screened:
    """Tables in, tables of verdicts out: same rows, same order. Each actor of Ray Data makes one.

    Args:
        columns: which column is which field of REQUESTS, as ``{"text": "prompt"}``; others are looked for by the
            field's own name.
        carry: columns to copy to the verdicts.
        screener: ``module:callable`` that makes the screener, with ``settings`` as arguments.

    Raises:
        SchemaError: ``columns`` names something that is no field of REQUESTS.
        ConfigError: the screener cannot be made.
    """

    def __init__(
        self,
        columns: Mapping[str, str] | None = None,
        carry: Sequence[str] = (),
        screener: str = shipped.TARGET,
        **settings: Any,
    ) -> None:
        self._columns, self._carry = dict(columns or {}), tuple(carry)
        for field in self._columns:
            if field not in REQUESTS.names:
                raise SchemaError(field, f"is no field of a request; there are {', '.join(REQUESTS.names)}")
        self._screener = Factory(screener, settings).make("screener")

    def __call__(self, table: pa.Table) -> pa.Table:
        """Verdicts of ``table``. ``request_id`` counts rows from 0 within each batch, unless there is such a column.

        Raises:
            SchemaError: a column is missing or does not fit.
        """
        chosen = {}
        for field in REQUESTS.names:
            name = self._columns.get(field, field)
            if name in table.column_names:
                chosen[field] = table.column(name)
            elif field in self._columns or field == "text":
                raise SchemaError(name, f"missing; the columns are {', '.join(table.column_names) or '(none)'}")
        found = [verdicts for batch in batches(pa.table(chosen)) for verdicts in rows.screen(self._screener, batch)]
        made = pa.Table.from_batches(found)
        for name in self._carry:
            if name not in table.column_names:
                raise SchemaError(name, f"missing; the columns are {', '.join(table.column_names)}")
            made = made.append_column(name, table.column(name))
        # Ray Data joins tables of many actors, whose dictionaries need not be the same.
        return made.unify_dictionaries()
