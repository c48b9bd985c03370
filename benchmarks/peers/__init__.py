"""Ours and other open detectors on the same labelled files, in one run: see README.md beside this file."""
