"""Fine-tune the encoder on prepared rows.

A run is a function of its rows and its seed: the order of batches and the schedule follow from the step number alone,
so that a run taken up again at a checkpoint ends with the weights of an undisturbed one.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

    from aimds.jobs.deep.encoder import Encoder

F32 = npt.NDArray[np.float32]

WARM_UP = 0.06
"""Share of the steps in which the rate rises."""
SMOOTHING = 0.02
CHECKPOINT_STEPS = 150
HEAD_RATE = 10.0
"""The head, new in every fit, learns so many times faster than the layers below it."""


@dataclass(frozen=True, slots=True)
class Rows:
    """R windows as word pieces: ``tokens`` int32 (N,), ``offsets`` int64 (R+1,), ``label`` int64 (R,) into
    `aimds.jobs.deep.encoder.CLASSES`, ``untrusted`` bool (R,), ``source`` int32 (R,), the public source that
    each counts for, -1 where it counts by itself."""

    tokens: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    untrusted: npt.NDArray[np.bool_]
    source: npt.NDArray[np.int32]

    def write(self, file: Path) -> None:
        """Keep the rows in ``file``."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        _write(file, fields)

    @classmethod
    def read(cls, file: Path) -> Rows:
        """The rows that `write` kept."""
        with np.load(file, allow_pickle=False) as arrays:
            return cls(**{name: arrays[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Settings:
    """``layers`` kept of the pretrained encoder · ``steps`` taken, over the rows again and again · ``rate``: highest
    learning rate of its layers · ``batch_tokens``: tokens of a batch, padding included · ``seed`` of the head's first
    weights · ``order``: seed of the order of the rows, and of what is hidden · ``hidden``: share of the word pieces
    that a step does not see, the piece ``mask`` in their place, so that no single word decides."""

    layers: int
    steps: int
    rate: float
    batch_tokens: int
    seed: int = 0
    order: int = 0
    hidden: float = 0.0
    mask: int = 0


def finetune(rows_file: Path, pretrained: Path, out: Path, settings: Settings, *, threads: int) -> None:
    """Fit on the rows of ``rows_file`` from the weights in ``pretrained``; the weights go to ``out``.

    A checkpoint lies beside ``out`` until the run is done; the same call goes on from it.
    """
    import torch

    from aimds.jobs.deep.encoder import Encoder

    if out.exists():
        return
    rows = Rows.read(rows_file)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(settings.seed)
    with np.load(pretrained, allow_pickle=False) as arrays:
        model = Encoder({name: arrays[name] for name in arrays.files}, layers=settings.layers)
    head = [p for name, p in model.named_parameters() if name.startswith("head.")]
    body = [p for name, p in model.named_parameters() if not name.startswith("head.") and p.requires_grad]
    optimiser = torch.optim.AdamW(
        [{"params": body, "base": settings.rate}, {"params": head, "base": settings.rate * HEAD_RATE}],
        weight_decay=0.01,
    )
    short = short_products()
    kind = "bfloat16" if short else "float32, as this CPU has none in bfloat16"
    print(f"{out.stem}: products in {kind}", file=sys.stderr, flush=True)
    batches = _batches(rows, settings)
    checkpoint = out.with_suffix(".partial.npz")
    first = _resume(checkpoint, model, optimiser) if checkpoint.exists() else 0
    model.train()
    loss_sum = 0.0
    for step in range(first, len(batches)):
        ids, mask = _padded(rows, batches[step])
        ids = _with_hidden(ids, mask, settings, step)
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * _rate(step, len(batches))
        untrusted = rows.untrusted[batches[step]].astype(np.int64)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=short):
            logits = model(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(untrusted))
        target = torch.from_numpy(rows.label[batches[step]])
        loss = torch.nn.functional.cross_entropy(logits.float(), target, label_smoothing=SMOOTHING)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*body, *head], 1.0)
        optimiser.step()
        loss_sum += loss.item()
        if (step + 1) % CHECKPOINT_STEPS == 0:
            told = f"{out.stem}: step {step + 1}/{len(batches)}, loss {loss_sum / CHECKPOINT_STEPS:.4f}"
            print(told, file=sys.stderr, flush=True)
            loss_sum = 0.0
            _keep(checkpoint, step + 1, model, optimiser)
    _write(out, model.arrays())
    checkpoint.unlink(missing_ok=True)


def short_products() -> bool:
    """Whether products are taken in bfloat16, weights and sums staying float32: twice as many steps an hour where a CPU
    has such products, and a thirtieth where it has not. Torch before it could say so gets float32."""
    import torch

    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(able.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _rate(step: int, steps: int) -> float:
    done = (step + 1) / steps
    return min(done / WARM_UP, (1.0 - done) / (1.0 - WARM_UP) + 1.0 / steps)


def _batches(rows: Rows, settings: Settings) -> list[npt.NDArray[np.int64]]:
    # Rows of like length share a batch; the noise on the length keeps the company of a row from being always the same.
    lengths = np.diff(rows.offsets)
    out: list[npt.NDArray[np.int64]] = []
    epoch = 0
    while len(out) < settings.steps:
        rng = np.random.default_rng((settings.order, epoch))
        order = np.argsort(lengths * rng.uniform(0.9, 1.1, len(lengths)), kind="stable")
        batch: list[int] = []
        longest = 0
        made: list[npt.NDArray[np.int64]] = []
        for row in order.tolist():
            longest = max(longest, int(lengths[row]))
            if batch and longest * (len(batch) + 1) > settings.batch_tokens:
                made.append(np.array(batch, np.int64))
                batch, longest = [], int(lengths[row])
            batch.append(row)
        made.append(np.array(batch, np.int64))
        out += [made[k] for k in rng.permutation(len(made))]
        epoch += 1
    return out[: settings.steps]


def _padded(rows: Rows, batch: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    lengths = rows.offsets[batch + 1] - rows.offsets[batch]
    ids = np.zeros((len(batch), int(lengths.max())), np.int64)
    for k, row in enumerate(batch.tolist()):
        ids[k, : lengths[k]] = rows.tokens[rows.offsets[row] : rows.offsets[row + 1]]
    return ids, np.arange(ids.shape[1]) < lengths[:, None]


def _with_hidden(
    ids: npt.NDArray[np.int64], seen: npt.NDArray[np.bool_], settings: Settings, step: int
) -> npt.NDArray[np.int64]:
    # The marks at both ends stay: they are no words.
    words = seen.copy()
    words[:, 0] = False
    words[np.arange(len(ids)), seen.sum(axis=1) - 1] = False
    drawn = np.random.default_rng((settings.order, step, 1)).random(ids.shape) < settings.hidden
    return np.where(words & drawn, settings.mask, ids)


def average(fits: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights of several ``fits`` from one beginning to ``out``, itself as a fit's file.

    Source: Wortsman et al. 2022, model soups (arXiv 2203.05482).
    """
    sums: dict[str, npt.NDArray[np.float64]] = {}
    for file in fits:
        with np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                sums[name] = sums.get(name, 0.0) + arrays[name].astype(np.float64) / len(fits)
    _write(out, {name: array.astype(np.float32) for name, array in sums.items()})


def _keep(file: Path, step: int, model: Encoder, optimiser: torch.optim.Optimizer) -> None:
    arrays: dict[str, npt.NDArray[np.generic]] = {"step": np.array(step)}
    arrays |= {f"model.{name}": array for name, array in model.arrays().items() if name != "word"}
    for at, group in enumerate(optimiser.param_groups):
        for k, parameter in enumerate(group["params"]):
            state = optimiser.state[parameter]
            for name in ("exp_avg", "exp_avg_sq", "step"):
                arrays[f"state.{at}.{k}.{name}"] = state[name].numpy()
    _write(file, arrays)


def _resume(file: Path, model: Encoder, optimiser: torch.optim.Optimizer) -> int:
    import torch

    with np.load(file, allow_pickle=False) as arrays:
        kept = {name.removeprefix("model."): arrays[name] for name in arrays.files if name.startswith("model.")}
        model.restore({**model.arrays(), **kept})
        for at, group in enumerate(optimiser.param_groups):
            for k, parameter in enumerate(group["params"]):
                optimiser.state[parameter] = {
                    name: torch.from_numpy(np.array(arrays[f"state.{at}.{k}.{name}"]))
                    for name in ("exp_avg", "exp_avg_sq", "step")
                }
        return int(arrays["step"])


def _write(file: Path, arrays: Mapping[str, Any]) -> None:
    partial = file.with_suffix(".writing")
    with partial.open("wb") as out:
        np.savez(out, **arrays)
    partial.replace(file)
