"""Whom records are about, for those who erase."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from aimds.errors import ConfigError

NO_TENANT = ""
"""Stands for rows of no tenant."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose records are meant; all that is given has to fit. The tenant ``""`` is that of rows without one.

    Raises:
        ConfigError: nothing is given.
    """

    session: str | None = None
    tenant: str | None = None
    request: str | None = None
    identity: str | None = None

    def __post_init__(self) -> None:
        if all(one is None for one in (self.session, self.tenant, self.request, self.identity)):
            raise ConfigError("subject", None, "a session, tenant, request or identity")

    def fits(self, private: dict[str, Any]) -> bool:
        """Whether a record with this private part is about the subject."""
        if self.tenant is not None and (private.get("tenant") or NO_TENANT) != self.tenant:
            return False
        if self.request is not None and private.get("request_id") != self.request:
            return False
        # The end of a hold names who sent as its sender.
        if self.identity is not None and self.identity not in (private.get("identity"), private.get("sender")):
            return False
        return self.session is None or self.session == private.get("session_id") or self._in_path(private)

    def may_fit(self, line: bytes) -> bool:
        """Whether the record in ``line`` can be about the subject, without reading it as JSON."""
        for one in (self.request, self.identity, self.tenant or None):
            if one is not None and _quoted(one) not in line:
                return False
        if self.session is None or _quoted(self.session) in line:
            return True
        return quote(self.session, safe="").encode() in line

    def _in_path(self, private: dict[str, Any]) -> bool:
        # A denied request names its session in the path only.
        parts = str(private.get("path", "")).split("/")
        return self.session is not None and quote(self.session, safe="") in parts


def _quoted(text: str) -> bytes:
    """As the text stands in a line."""
    return json.dumps(text).encode()
