"""`aimds campaigns` against peers: `python -m benchmarks.campaigns [--smoke] [NAME…]`.

Quality: planted families are the variants of one attack template each, of the templates that were not looked at when
the constants were chosen (every second one), among texts that belong to no family. A peer's own threshold is chosen for
the best F1 on these very texts, which favours it. Rates are F1 of the two shares of BCubed (Amigó et al. 2009,
doi:10.1007/s10791-008-9066-8): precision, of the texts that share a text's group, how many are of its family; recall,
of its family, how many share its group. Intervals are 95%, from resampling families.

Speed: the families of N texts. The peer compares all pairs with rapidfuzz, word edits and letter edits, and joins them
by average linkage of SciPy: the same likeness, the same linkage, N × N memory.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from aimds.analyze import campaigns
from aimds.analyze.campaigns import CUT, Settings
from aimds.analyze.likeness import MOST_BYTES, MOST_WORDS
from aimds.detect.patterns.lexicon import fold, split
from aimds.jobs.grammar import Grammar
from aimds.jobs.grammar.surface import noised, tidy
from aimds.kernels import ragged
from benchmarks.harness import Case, Maker, Result, available, main

Ints = npt.NDArray[np.int64]
LEAST = 2
RESAMPLED = 400
LEAST_RATIO = 0.95
"""A share of the peer's F1 below which a quality case fails."""


def planted(seed: int, half: int, families: int) -> tuple[list[str], Ints]:
    """Texts of about ``families`` templates, 2 to 40 variants each, and the template of each text.

    ``half`` 0 are the templates at even places of their language, by which the constants were chosen, 1 the others.
    """
    rng = np.random.default_rng(seed)
    templates = [
        (language, template)
        for language in Grammar.load().languages
        for place, (_, template) in enumerate(one for family in language.families for one in family.attacks)
        if place % 2 == half
    ]
    texts: list[str] = []
    labels: list[int] = []
    for number, at in enumerate(rng.permutation(len(templates))[:families].tolist()):
        language, template = templates[at]
        variants: set[str] = set()
        for _ in range(int(np.exp(rng.uniform(np.log(2), np.log(40))))):
            drawn = template
            if "preface" in language.slots and rng.random() < 0.2:
                drawn = "{preface} " + drawn
            if "coda" in language.slots and rng.random() < 0.15:
                drawn += " {coda}"
            variants.add(noised(tidy(language.expand(drawn, rng, ())), language.lang, rng))
        texts += sorted(variants)
        labels += [number] * len(variants)
    return texts, np.array(labels, np.int64)


def strangers(seed: int, count: int) -> list[str]:
    """Texts that are in no family: one of each look-alike template, ``count`` of them."""
    rng = np.random.default_rng(seed)
    pool = [
        noised(tidy(language.expand(template, rng, ())), language.lang, rng)
        for language in Grammar.load().languages
        for family in language.families
        for template in family.lookalikes
    ]
    return [pool[at] for at in rng.permutation(len(pool))[:count].tolist()]


@cache
def material(smoke: bool) -> tuple[tuple[bytes, ...], Ints]:
    """Folded texts, and the family of each, -1 for none; in an order that tells nothing."""
    texts, labels = planted(20_250, 1, 40 if smoke else 400)
    alone = strangers(20_251, 60 if smoke else 600)
    order = np.random.default_rng(7).permutation(len(texts) + len(alone))
    folded = fold([*texts, *alone])
    family = np.concatenate([labels, np.full(len(alone), -1)])
    return tuple(folded[at] for at in order.tolist()), family[order]


def groups(texts: tuple[bytes, ...], cut: float = CUT) -> Ints:
    """Our families of ``texts``, -1 for none."""
    values, offsets = ragged.joined([np.frombuffer(text, np.uint8) for text in texts])
    found, _ = campaigns.find(values, offsets, np.ones(len(texts), np.int64), Settings(cut, LEAST))
    return found.family.astype(np.int64)


def shares(group: Ints, family: Ints) -> tuple[Ints, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Of each planted text its family, its BCubed precision and its BCubed recall; a text in no group is one alone."""
    alone = group < 0
    group = np.where(alone, group.max(initial=0) + 1 + np.arange(len(group)), group)
    own = np.flatnonzero(family >= 0)
    _, pair = np.unique(np.stack([group[own], family[own]], axis=1), axis=0, return_inverse=True)
    together = np.bincount(pair)[pair]
    precision = together / np.bincount(group)[group[own]]
    recall = together / np.bincount(family[own])[family[own]]
    return family[own], precision, recall


def f1(group: Ints, family: Ints) -> float:
    """F1 of mean precision and mean recall over the texts."""
    _, precision, recall = shares(group, family)
    p, r = float(precision.mean()), float(recall.mean())
    return 2 * p * r / (p + r)


def told(name: str, group: Ints, family: Ints) -> None:
    """Print precision and recall with intervals: texts of one family are not independent, so families are drawn."""
    owner, precision, recall = shares(group, family)
    rng = np.random.default_rng(1)
    sums = [np.bincount(owner, weights=values) for values in (precision, recall)]
    counts = np.bincount(owner)
    drawn = rng.integers(0, len(counts), (RESAMPLED, len(counts)))
    words = []
    for word, total in zip(("precision", "recall"), sums, strict=True):
        means = total[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        words.append(f"{word} {total.sum() / counts.sum():.3f} ({low:.3f}–{high:.3f})")
    print(f"  {name}: {', '.join(words)}, F1 {f1(group, family):.3f}", file=sys.stderr)


def tfidf(texts: tuple[bytes, ...]) -> Any:
    """The peer's vectors: TF-IDF over letter 3–5-grams within words."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    return vectors.fit_transform([text.decode("utf-8", "replace") for text in texts])


def dbscan(texts: tuple[bytes, ...], family: Ints) -> Ints:
    """DBSCAN over cosine distance, its radius the best of many on these texts."""
    from sklearn.cluster import DBSCAN

    vectors = tfidf(texts)
    found = [
        DBSCAN(eps=eps, min_samples=LEAST, metric="cosine").fit_predict(vectors) for eps in np.arange(0.2, 0.85, 0.05)
    ]
    return max((np.asarray(one, np.int64) for one in found), key=lambda one: f1(one, family))


def hdbscan(texts: tuple[bytes, ...], family: Ints) -> Ints:
    """HDBSCAN over the same vectors in 50 dimensions (LSA, the usual way), its way of choosing clusters the better."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    dense = normalize(TruncatedSVD(50, random_state=0).fit_transform(tfidf(texts)))
    ways = [
        HDBSCAN(min_cluster_size=LEAST, min_samples=few, cluster_selection_method=way, copy=True).fit_predict(dense)
        for way in ("eom", "leaf")
        for few in (1, 2, 3)
    ]
    return max((np.asarray(one, np.int64) for one in ways), key=lambda one: f1(one, family))


def quality(name: str, peer_name: str, peer: Callable[[tuple[bytes, ...], Ints], Ints]) -> Maker:
    """F1 of both sides on the held-out families."""

    def make(smoke: bool) -> list[Result]:
        if available("sklearn") is None:
            return []
        texts, family = material(smoke)
        ours, theirs = groups(texts), peer(texts, family)
        told("ours", ours, family)
        told(peer_name, theirs, family)
        mine, other = f1(ours, family), f1(theirs, family)
        return [Result(name, mine, other, peer_name, mine / other, "F1", mine >= LEAST_RATIO * other)]

    return make


def everything(texts: tuple[bytes, ...]) -> Ints:
    """Groups from all pairs, by rapidfuzz and SciPy."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    words = [one[:MOST_WORDS] for one in split(list(texts))]
    letters = [text[:MOST_BYTES] for text in texts]
    alike = np.zeros((len(texts), len(texts)), np.float32)
    for given in (words, letters):
        alike += cdist(given, given, scorer=Levenshtein.normalized_similarity, dtype=np.float32, workers=1) / 2
    tree = linkage(squareform(1 - alike, checks=False), "average")
    return np.asarray(fcluster(tree, 1 - CUT, "distance"), np.int64)


def speed(smoke: bool) -> list[Case]:
    """Families of N texts, clustering included; the same where the groups agree in F1 to 0.03."""
    if available("rapidfuzz") is None:
        return []
    texts, family = material(smoke)

    def same(ours: Ints, theirs: Ints) -> bool:
        told("ours", ours, family)
        told("all pairs", theirs, family)
        return abs(f1(ours, family) - f1(theirs, family)) < 0.03

    work = len(texts) * (len(texts) - 1) / 2
    return [
        Case(
            "families",
            "pair of texts",
            work,
            lambda: groups(texts),
            lambda: everything(texts),
            "rapidfuzz cdist and scipy average linkage",
            same,
            0.0,
        )
    ]


CASES: dict[str, Maker] = {
    "families_dbscan": quality("families_dbscan", "scikit-learn TF-IDF and DBSCAN", dbscan),
    "families_hdbscan": quality("families_hdbscan", "scikit-learn TF-IDF and HDBSCAN", hdbscan),
    "families": speed,
}


if __name__ == "__main__":
    sys.exit(main(CASES))
