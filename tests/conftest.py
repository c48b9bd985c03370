"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# A busy machine is slow; how long a case takes is the business of benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What starts the tests may say how wide its terminal is; what commands print in a pipe does not depend on it.
os.environ.pop("COLUMNS", None)
