"""The resident that runs the commands of pages."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import resident


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folder with the programs of pages."""
    folder = tmp_path_factory.mktemp("programs")
    address = str(folder / "socket")
    process = subprocess.Popen(
        [sys.executable, resident.__file__, address], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    resident.write_shims(folder, address)
    yield folder
    process.kill()
    process.wait()
    process.stdout.close()
