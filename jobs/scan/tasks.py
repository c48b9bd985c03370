"""What crosses from a job to its workers and back: plain records that become one line of JSON each."""

from __future__ import annotations

import base64
import importlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from aimds.errors import ConfigError
from aimds.jobs.scan.inputs import Source
from aimds.jobs.scan.reading import Slice


@dataclass(frozen=True, slots=True)
class Factory:
    """How a worker makes what it needs: ``module:callable`` (the callable may be a dotted path) and JSON arguments."""

    target: str
    arguments: dict[str, Any]

    def make(self, called: str = "work") -> Any:
        """Import and call it; ``called`` names it in errors.

        Raises:
            ConfigError: there is no such module or callable.
        """
        module, _, path = self.target.partition(":")
        try:
            target: Any = importlib.import_module(module)
            for attribute in path.split("."):
                target = getattr(target, attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ConfigError(called, self.target, f"module:callable ({error})") from error
        return target(**self.arguments)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is held at once. ``max_text_bytes``: a longer text is not screened, its verdict is an error."""

    batch_rows: int = 2048
    batch_bytes: int = 4 << 20
    max_text_bytes: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Job:
    """One input file, as a worker needs to know it. ``used`` maps REQUESTS fields to input columns; ``schema`` is the
    output's, serialised."""

    source: Source
    identity: dict[str, Any]
    used: dict[str, str]
    carry: tuple[str, ...]
    with_text: bool
    schema: str
    folder: str
    output: str
    key: str
    limits: Limits

    @property
    def columns(self) -> list[str]:
        """Columns to read, each once."""
        return list(dict.fromkeys([*self.used.values(), *self.carry]))

    @property
    def output_schema(self) -> pa.Schema:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(self.schema)))

    @property
    def folder_path(self) -> Path:
        return Path(self.folder)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Job:
        """The inverse of ``to_json``."""
        fields = dict(value)
        fields["source"] = Source(**fields["source"])
        fields["limits"] = Limits(**fields["limits"])
        fields["carry"] = tuple(fields["carry"])
        return cls(**fields)


def pack_schema(schema: pa.Schema) -> str:
    """``schema`` as text, for ``Job.schema``."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


@dataclass(frozen=True, slots=True)
class Task:
    """Work on one unit, or (``where`` None) assemble a file whose units, ``slice`` of them, are finished; or, before
    that, gather from it what stage ``gather`` of the judgement over all files together needs."""

    job: Job
    slice: int = 0
    where: Slice | None = None
    gather: int | None = None

    def to_json(self) -> dict[str, Any]:
        where = self.where and asdict(self.where)
        return {"job": self.job.to_json(), "slice": self.slice, "where": where, "gather": self.gather}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Task:
        """The inverse of ``to_json``."""
        where = value["where"]
        return cls(Job.from_json(value["job"]), value["slice"], Slice(**where) if where else None, value["gather"])


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a task.

    ``kind``: ``ready`` (the work is made; ``value`` has its config_hash) · ``rows`` (``value["rows"]`` more are
    done) · ``done`` (``value`` is the part's trailer or the output's size) · ``unreadable`` (input rows cannot be
    read) · ``broken`` (something failed that may not fail again) · ``fatal`` (the scan must stop; ``value`` has path
    and problem) · ``died`` (the process is gone).
    """

    kind: str
    value: dict[str, Any]
