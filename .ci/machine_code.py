"""Gives an installed wheel the machine code of the tree, where a module is the same to the byte.

Run as: python machine_code.py SITE_PACKAGES, in the root of the tree. Compiling everything once more costs minutes and
shows nothing that the tests do not show; a module that differs is left alone and is compiled when it is used.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

ROOMS = {"engine": ".", "kernels": "kernels", "jobs": "jobs"}
"""Folders of the tree, and where they lie in the package."""


def main() -> None:
    """Copy what numba keeps beside the sources; numba tells sources by size and time, so the time is set alike."""
    package, copied = Path(sys.argv[1]) / "aimds", 0
    for room, place in ROOMS.items():
        for kept in Path(room).rglob("__pycache__/*.nb[ci]"):
            ours = kept.parent.parent / f"{kept.name.split('.')[0]}.py"
            theirs = package / place / ours.relative_to(room)
            if ours.is_file() and theirs.is_file() and ours.read_bytes() == theirs.read_bytes():
                found = ours.stat()
                os.utime(theirs, ns=(found.st_atime_ns, found.st_mtime_ns))
                (theirs.parent / "__pycache__").mkdir(exist_ok=True)
                shutil.copy2(kept, theirs.parent / "__pycache__")
                copied += 1
    print(f"{copied} files of machine code taken from the tree")


if __name__ == "__main__":
    main()
