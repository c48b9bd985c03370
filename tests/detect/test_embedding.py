from __future__ import annotations

import numpy as np
import pyarrow as pa

from aimds.detect.embedding import Embedding

TEXTS = ["Where is the harbour?", "WHERE is   the harbour", "Bake bread at home", "", None]


def test_alike_texts_lie_near_each_other_and_nothing_is_nowhere() -> None:
    vectors = Embedding.load()(pa.array(TEXTS, pa.large_string()))
    near = vectors @ vectors.T
    assert near[0, 1] > 0.99
    assert near[0, 2] < 0.3
    assert np.allclose(np.diag(near)[:3], 1, atol=1e-5)
    assert not vectors[3:].any()


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    embed = Embedding.load()
    texts = pa.array(TEXTS, pa.large_string())
    whole = embed(texts)
    for row in range(len(TEXTS)):
        assert (embed(texts.slice(row, 1))[0] == whole[row]).all()
    assert embed(texts.slice(0, 0)).shape == (0, embed.dim)
