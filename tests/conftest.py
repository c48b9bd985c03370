"""What holds for every test."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import postgres_server
import pytest
from hypothesis import settings

# A busy machine is slow; how long a case takes is the business of benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What starts the tests may say how wide its terminal is; what commands print in a pipe does not depend on it.
os.environ.pop("COLUMNS", None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    # What collecting makes stays to the end: looking through it again and again would free nothing.
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.Postgres]:
    """A PostgreSQL server; a test that asks for it is skipped where none can be started."""
    why = postgres_server.missing()
    if why is not None:
        pytest.skip(why)
    with postgres_server.running() as server:
        yield server
