"""A gateway in the place of a screener, for commands that can ask either."""

from __future__ import annotations

from datetime import datetime
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from aimds.errors import SchemaError
from aimds.gateway.client import Client, Options
from aimds.verdicts import Verdict


class Remote:
    """Screens by asking the gateway at ``url``."""

    def __init__(self, url: str, options: Options) -> None:
        self._client = Client(url, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def screen(self, table: pa.Table) -> list[Verdict]:
        """Verdicts of the texts in ``table``, in their channels.

        Raises:
            SchemaError: a text is not UTF-8, which JSON cannot carry.
            ServerError: the gateway refused, or did not answer.
        """
        out = []
        rows = zip(table.column("text").to_pylist(), table.column("channel").to_pylist(), strict=True)
        for i, (content, channel) in enumerate(rows):
            try:
                text = content.decode()
            except UnicodeDecodeError:
                raise SchemaError("text", "is not UTF-8; screen it without --server", row=i) from None
            out.append(_verdict(self._client.screen(text, channel=channel, request_id=str(i))))
        return out


def _verdict(found: dict[str, Any]) -> Verdict:
    ts = found["ts"]
    return Verdict(**{**found, "ts": None if ts is None else datetime.fromisoformat(ts)})
