"""What holds for every test."""

from __future__ import annotations

from hypothesis import settings

# A busy machine is slow; how long a case takes is the business of benchmarks.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
