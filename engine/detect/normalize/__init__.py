"""Raw text becomes views: the folded text of each row, and one more view for each part that could be decoded.

Encodings inside encodings are followed, ciphers inside encodings too. Of the encodings inside a cipher, base64 and
hexadecimal are read where they were reversed or put into ROT13; base64 under Atbash or another shift, other encodings
under any cipher and decimal codes of hexadecimal are not read, and nothing says that they are there. Letters spread by
blanks are read by their layout in the row itself only, not inside an encoding.
"""

from __future__ import annotations

from aimds.detect.normalize.flags import Flag
from aimds.detect.normalize.unwrap import KINDS, Limits
from aimds.detect.normalize.views import Decoded, Views, normalize

__all__ = ["KINDS", "Decoded", "Flag", "Limits", "Views", "normalize"]
