"""Raw text becomes views: the folded text of each row, and one more view for each part that could be decoded."""

from __future__ import annotations

from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.unwrap import KINDS, Limits
from aimds.detect.normalize.views import Decoded, Views, normalize

__all__ = ["KINDS", "Decoded", "Flag", "Limits", "Views", "normalize"]
