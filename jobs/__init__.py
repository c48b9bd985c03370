"""Offline work over files: scan, report, train, evaluate."""
