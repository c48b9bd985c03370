"""Judging a screener on labelled files: detection, robustness, over-defence, few-shot teaching, speed, PII."""
