"""Tier 2: what a conversation shows that none of its turns does."""
