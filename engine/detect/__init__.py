"""Tier 1: what one text shows by itself. Each module is one stage; `aimds.screener` runs them in order."""
