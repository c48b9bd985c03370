"""What is flagged and blocked of held-out texts of our own: `python -m benchmarks.held_out`.

attacks.toml (300) and harmless.toml (400) were written by authors who had seen neither the detector's data nor its
misses. They are counted and never read for what is missed, so that they stay a measure; nothing may be trained on or
tuned to them. One JSON line for each profile and group, rates with 95 % Clopper–Pearson intervals. `--model FOLDER`
judges with another model, `--profile NAME` (repeatable) in some profiles only.
"""
