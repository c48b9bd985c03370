"""A pretrained encoder with random weights, as a folder as it is downloaded, and as a fit begins with it."""

from pathlib import Path

import numpy as np
import pretrained_file
import pytest

from aimds.jobs.deep.pretrained import FILE, Pretrained


@pytest.fixture(scope="session")
def download(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained")
    (out / FILE).write_bytes(pretrained_file.make().content)
    return out


@pytest.fixture(scope="session")
def pretrained(download: Path) -> Path:
    original = Pretrained.read(download / FILE)
    file = download / "pretrained.npz"
    np.savez(file, **original.weights(np.arange(len(original.pieces)), [0]))  # type: ignore[arg-type]
    return file
