"""Tier 2: what shows only over many requests, in the run of a conversation or over a whole history."""
