"""What the encoder makes of taught attacks: logistic regression between their states and those of ordinary text.

The states are those after a layer below the last (`TAUGHT_LAYER`): they still know what a text is about, where the last
knows mostly whether it looks like the attacks that the encoder was fitted to (figures in docs/design/0014). A text
counts in both channels, as a user's and as a document's, since the encoder is told which it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimds.detect import gray, tail
from aimds.detect.classifier import Classifier
from aimds.detect.deep import Column, Deep, texts_of
from aimds.detect.features import highest, windows_of
from aimds.detect.tail import Tail
from aimds.errors import ConfigError

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

TAUGHT_LAYER = 3
"""The layer whose states are compared, counted from the last, which is 1."""
PENALTY = 2e-5
"""What half the square of a weight costs beside the mean loss of a row, states having length 1 on average."""
TURNS = 200
REMEMBERED = 20_000
"""Texts whose states an encoder keeps for the next time they are taught, 1.5 KB a part."""
SIDES = (False, True)
"""Whether a text is taken for a document's: what the two parts of `States` are."""


@dataclass(frozen=True, slots=True)
class States:
    """What an encoder of ``version`` makes of P parts of texts: ``values`` float16 (2, P, D), as a user's text and as a
    document's; ``owner`` int32 (P,) ascending, the text of each, and ``ids``, one a text."""

    ids: tuple[str, ...]
    values: npt.NDArray[np.float16]
    owner: npt.NDArray[np.int32]
    version: str

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(
        cls,
        ids: Sequence[str],
        texts: Sequence[str],
        classifier: Classifier,
        deep: Deep,
        *,
        most: int = gray.MAX_WINDOWS,
        threads: int = 1,
    ) -> States:
        """The states of ``texts``: of a long one those of the ``most`` windows with the highest attack score."""
        pieces = windows_of(texts)
        logits = classifier.score(pieces.values, pieces.offsets)
        chosen = gray.windows(pieces, logits, np.arange(len(texts)), np.zeros(len(texts), np.bool_))
        row = pieces.row[chosen]
        chosen = chosen[np.arange(len(chosen)) - np.searchsorted(row, row) < most]
        parts = deep.tokenizer.encode(texts_of(*pieces.take(chosen)))
        owner = np.repeat(pieces.row[chosen].astype(np.int32), [len(split) for split in parts])
        flat = [part for split in parts for part in split]
        sides = [deep.pooled(flat, np.full(len(flat), side), threads=threads)[:, columns(deep)] for side in SIDES]
        return cls(tuple(ids), np.stack(sides).astype(np.float16), owner, deep.version)

    @classmethod
    def none(cls) -> States:
        """No text, and no encoder."""
        return cls((), np.zeros((2, 0, 0), np.float16), np.zeros(0, np.int32), "")

    def joined(self, other: States) -> States:
        """These texts, then those of ``other``, of the same encoder, that are new."""
        known = set(self.ids)
        new = np.array([name not in known for name in other.ids], np.bool_)
        place = (len(self) + np.cumsum(new) - 1).astype(np.int32)
        parts = new[other.owner]
        return States(
            self.ids + tuple(name for name in other.ids if name not in known),
            np.concatenate([self.values, other.values[:, parts]], axis=1),
            np.concatenate([self.owner, place[other.owner[parts]]]),
            self.version,
        )

    @classmethod
    def together(cls, parts: Sequence[States], width: int, version: str) -> States:
        """The texts of all ``parts``, one after the other, of one encoder whose states have ``width``."""
        sizes = np.cumsum([0, *(len(part) for part in parts)])[:-1].astype(np.int32)
        return cls(
            tuple(name for part in parts for name in part.ids),
            np.concatenate([np.zeros((2, 0, width), np.float16), *(part.values for part in parts)], axis=1),
            np.concatenate([np.zeros(0, np.int32), *(p.owner + at for p, at in zip(parts, sizes, strict=True))]),
            version,
        )

    def texts(self, first: int, last: int) -> States:
        """The texts ``first`` to ``last``, counted from 0 again."""
        low, high = np.searchsorted(self.owner, (first, last)).tolist()
        owner = self.owner[low:high] - np.int32(first)
        return States(self.ids[first:last], self.values[:, low:high], owner, self.version)

    def is_sound(self) -> bool:
        """Whether the arrays can be those of the texts."""
        owner, values = self.owner, self.values
        return (
            owner.ndim == 1
            and values.ndim == 3
            and values.shape[:2] == (2, len(owner))
            and bool(np.isfinite(values).all())
            and np.array_equal(np.unique(owner), np.arange(len(self)))
            and bool((np.diff(owner) >= 0).all())
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """What was taught, ``attacks`` and ``benign``, as states, and the regression: ``weight`` float32 (D,), ``bias`` and
    the benign ``tails``, of users' texts and of documents; of benign text alone there is none, and no tail."""

    attacks: States
    benign: States
    weight: F32
    bias: float
    tails: tuple[Tail, ...]

    @classmethod
    def of(cls, attacks: States, benign: States, ordinary: States) -> Probe:
        """The probe between ``attacks`` and ``benign`` with the first half of the ``ordinary`` texts; the others say
        how high ordinary text scores.

        Raises:
            ConfigError: they are not of one encoder.
        """
        for states in (attacks, benign):
            if (states.version, states.values.shape[2]) != (ordinary.version, ordinary.values.shape[2]):
                expected = f"{ordinary.version}, that of the reference: teach it anew"
                raise ConfigError("encoder", states.version, expected)
        if not len(attacks):
            return cls(attacks, benign, np.zeros(ordinary.values.shape[2], np.float32), 0.0, ())
        half = len(ordinary) // 2
        weight, bias = _fitted(attacks, benign.joined(ordinary.texts(0, half)))
        rest = ordinary.texts(half, len(ordinary))
        scores = rest.values.astype(np.float32) @ weight + np.float32(bias)
        user, document = (tail.fit(highest(side, rest.owner, len(rest))) for side in scores)
        return cls(attacks, benign, weight, bias, (user, document))

    @property
    def version(self) -> str:
        """Changes whenever the states or the regression do."""
        parts = (self.attacks.values, self.benign.values, self.weight, np.float64(self.bias))
        return hashlib.sha256(b"|".join(part.tobytes() for part in parts)).hexdigest()[:12]

    def fits(self, deep: Deep) -> bool:
        """Whether it is of ``deep``, as the names and sizes say."""
        where = columns(deep)
        return self.attacks.version == deep.version and self.weight.shape == (where.stop - where.start,)

    def column(self, deep: Deep) -> Column | None:
        """The score as one over all that `Deep.pooled` gives; None where no attack was taught."""
        if not self.tails:
            return None
        weight = np.zeros(len(deep.arrays["head.weight"]), np.float32)
        weight[columns(deep)] = self.weight
        return Column(weight, self.bias)

    def p_value(self, scores: F32, untrusted: Flags) -> F64:
        """p-values float64 (B,) of rows' highest ``scores`` float32 (B,), 1 where there is none (-inf)."""
        out = np.ones(len(scores))
        for side, fitted in zip(SIDES, self.tails, strict=True):
            rows = np.flatnonzero(np.isfinite(scores) & (untrusted == side))
            out[rows] = fitted.p_value(scores[rows])
        return out


def remembered(texts: Mapping[str, str], classifier: Classifier, deep: Deep, most: int) -> States:
    """The states of ``texts`` by id. A proposal teaches the same texts again and again, so ``deep`` keeps what it made
    of the last REMEMBERED."""
    known = deep.remembered
    keys = {name: f"{name} {most} {classifier.version}" for name in texts}
    found = {name: known.get(key) for name, key in keys.items()}  # another thread may empty it meanwhile
    new = [name for name, states in found.items() if states is None]
    made = States.of(new, [texts[name] for name in new], classifier, deep, most=most)
    found |= {name: made.texts(k, k + 1) for k, name in enumerate(new)}
    known.update({keys[name]: found[name] for name in new})
    for key in list(known)[: max(len(known) - REMEMBERED, 0)]:
        known.pop(key, None)
    where = columns(deep)
    return States.together(
        [states for states in found.values() if states is not None], where.stop - where.start, deep.version
    )


def columns(deep: Deep) -> slice:
    """Which of the numbers that `Deep.pooled` gives are the states of TAUGHT_LAYER, or of the lowest that it gives."""
    width = deep.arrays["word"].shape[1]
    place = max(len(deep.arrays["head.weight"]) // width - TAUGHT_LAYER, 0)
    return slice(place * width, (place + 1) * width)


def _fitted(attacks: States, held: States) -> tuple[F32, float]:
    # Both sides weigh alike, however many they are, and so do the texts of a side.
    from scipy.optimize import minimize

    bad, good = (side.values.reshape(-1, side.values.shape[2]).astype(np.float64) for side in (attacks, held))
    mean = good.mean(axis=0)
    x = np.concatenate([bad, good]) - mean
    scale = max(float(np.linalg.norm(x[len(bad) :], axis=1).mean()), 1e-12)
    x /= scale
    sign = np.repeat([1.0, -1.0], [len(bad), len(good)])
    share = np.concatenate([np.tile(0.25 / np.bincount(one.owner)[one.owner] / len(one), 2) for one in (attacks, held)])

    def loss(theta: F64) -> tuple[float, F64]:
        margin = sign * (x @ theta[:-1] + theta[-1])
        value = float(share @ np.logaddexp(0.0, -margin)) + 0.5 * PENALTY * float(theta[:-1] @ theta[:-1])
        slope = -sign * share / (1.0 + np.exp(margin))
        return value, np.append(slope @ x + PENALTY * theta[:-1], slope.sum())

    theta = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": TURNS}).x
    weight = theta[:-1] / scale
    return weight.astype(np.float32), float(theta[-1] - mean @ weight)
