"""Tier 3: from scores to an action, and the changed text where the action asks for one."""
