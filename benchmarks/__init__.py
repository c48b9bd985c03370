"""Ours and a peer, measured turn by turn in one run: `python -m benchmarks.kernels` from the root of the repository."""
