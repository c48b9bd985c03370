"""What a text says whatever its language: its words as concepts, judged by linear heads over pairs of these.

Attacks are plentiful in English and rare elsewhere. A list of words for some 240 concepts in each language makes of
"ignoriere alles Bisherige" and "ignore everything before" the same sequence, so what is learnt from the one holds for
the other; in English it stands for what an attack means beside how it is spelt.
"""

from __future__ import annotations

from aimds.detect.concepts.heads import Concepts

__all__ = ["Concepts"]
