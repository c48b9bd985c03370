"""How to train: every number that decides what `aimds train` makes."""

from __future__ import annotations

from dataclasses import dataclass

from aimds.errors import ConfigError

FEWEST_BENIGN = 250
"""Ordinary texts without which nothing taught later could be held against them."""
LEAVE_OUT = ("source", "row")
LEAST = {
    "written": 0,
    "documents": 0,
    "rounds": 1,
    "max_epochs": 1,
    "deep_fits": 1,
    "deep_steps": 0,
    "deep_pooled": 1,
    "calibration_rows": 1,
    "reference_texts": FEWEST_BENIGN,
}


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How to train.

    Texts. ``bank_texts``: public benign texts that, with our own ordinary ones, set the thresholds of the patterns ·
    ``pairs``: times each pattern of the bank stands beside a benign text among the training texts · ``grammar``: texts
    the grammar makes, half of them attacks · ``ordinary``: ordinary texts of our own in other languages ·
    ``everyday``: ordinary English texts of our own with the words of attacks in them · ``written``: times each text
    that is written out stands among the training texts, first as it is, then varied · ``documents``: stretches of
    documents of our own, of which a third hold an attack and a third a look-alike that is written out (none where
    ``written`` is 0) · ``planted``: public documents with and without a planted instruction.

    Folds. ``leave_out``: what out-of-fold scores are made without, ``source`` or ``row``: rows drawn at random show how
    well a model does on more of the same, and calibrate one that is of no use elsewhere.

    Linear heads. ``bits``: 2 ** bits hashed features · ``cost``: penalty C of a mean row · ``folds``: groups of sources
    for out-of-fold scores · ``rounds``: passes of choosing the windows that make a long attack one (multiple-instance
    learning) · ``max_epochs``, ``tolerance``: when a fit stops.

    Encoder. ``layers`` of the pretrained encoder that are kept, 0 for no deep stage · ``deep_aside``: the group of
    sources, 0 to ``folds`` - 1, whose benign text it never sees, to be calibrated on · ``deep_judged``: whether it
    never sees their attacks either, to be judged on them · ``deep_attacks``, ``deep_benign``, ``deep_harmful``: rows of
    public sources it learns from · ``deep_own``: rows of our own that carry public text, beside all that stand alone ·
    ``deep_fits`` from one beginning whose mean it is · ``deep_steps`` each takes, 0 to
    keep an earlier encoder as it is · ``deep_hidden``: share of the word
    pieces that are hidden from every second fit · ``rate``: highest learning rate · ``batch_tokens`` of a batch ·
    ``deep_pooled``: last layers whose mean states the head sees · ``deep_penalty`` on its weights ·
    ``calibration_rows``: benign rows it never saw that it is calibrated on.

    Calibration. ``hard_share``: share of benign_hard text in the traffic the tails are calibrated for ·
    ``document_share``: share of the benign documents at hand in the traffic of tools and documents · ``prevalence``:
    share of attacks at which the score is a probability · ``reference_texts``: ordinary texts, kept as hashed n-grams,
    that what is taught later is held against.
    """

    bank_texts: int = 40_000
    pairs: int = 3
    grammar: int = 14_000
    ordinary: int = 8_000
    everyday: int = 2_000
    written: int = 2
    documents: int = 3000
    planted: int = 4000
    bits: int = 19
    cost: float = 0.5
    folds: int = 6
    leave_out: str = "source"
    rounds: int = 2
    max_epochs: int = 40
    tolerance: float = 0.1
    layers: int = 0
    deep_aside: int = 4
    deep_judged: bool = False
    deep_attacks: int = 20_000
    deep_benign: int = 40_000
    deep_harmful: int = 2500
    deep_own: int = 36_000
    deep_fits: int = 2
    deep_steps: int = 6000
    deep_hidden: float = 0.1
    rate: float = 1e-4
    deep_pooled: int = 5
    deep_penalty: float = 0.3
    batch_tokens: int = 2048
    calibration_rows: int = 20_000
    hard_share: float = 0.02
    document_share: float = 0.05
    prevalence: float = 0.01
    reference_texts: int = 3200
    seed: int = 0

    def __post_init__(self) -> None:
        if not 10 <= self.bits <= 24:
            raise ConfigError("bits", self.bits, "10 to 24")
        if not 0 < self.cost < 1e6:
            raise ConfigError("cost", self.cost, "a positive number")
        if not 2 <= self.folds <= 20:
            raise ConfigError("folds", self.folds, "2 to 20")
        if self.leave_out not in LEAVE_OUT:
            raise ConfigError("leave_out", self.leave_out, " or ".join(LEAVE_OUT))
        if not 0 <= self.layers <= 12:
            raise ConfigError("layers", self.layers, "0 to 12, 0 for no deep stage")
        if self.layers and not 0 <= self.deep_aside < self.folds:
            raise ConfigError("deep_aside", self.deep_aside, f"0 to folds - 1 = {self.folds - 1}")
        if not 0 <= self.deep_hidden < 1:
            raise ConfigError("deep_hidden", self.deep_hidden, "a share from 0 to below 1")
        if not 0 < self.rate < 1:
            raise ConfigError("rate", self.rate, "a number between 0 and 1")
        if not 0 < self.deep_penalty < 1e6:
            raise ConfigError("deep_penalty", self.deep_penalty, "a positive number")
        if not 0 < self.prevalence < 1:
            raise ConfigError("prevalence", self.prevalence, "a share between 0 and 1")
        if not 0 <= self.hard_share < 1:
            raise ConfigError("hard_share", self.hard_share, "a share from 0 to below 1")
        if not 0 <= self.document_share < 1:
            raise ConfigError("document_share", self.document_share, "a share from 0 to below 1")
        if not 0 < self.tolerance < float("inf"):
            raise ConfigError("tolerance", self.tolerance, "a positive number")
        for name, least in LEAST.items():
            if getattr(self, name) < least:
                raise ConfigError(name, getattr(self, name), f"at least {least}")
