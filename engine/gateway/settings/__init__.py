"""What `aimds serve` is told: a TOML file as checked values."""

from __future__ import annotations

from aimds.gateway.settings.file import load
from aimds.gateway.settings.values import SHIPPED, Audit, Certificates, Following, Jwt, Ray, Review, Screening, Settings

__all__ = ["SHIPPED", "Audit", "Certificates", "Following", "Jwt", "Ray", "Review", "Screening", "Settings", "load"]
