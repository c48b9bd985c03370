"""The encoder's way from word pieces to logits by kernels, where its weights live: what the deep stage does on a GPU.

The tokens of all windows lie end to end, none is filled up. Layout: BERT (Devlin et al. 2019,
doi:10.18653/v1/N19-1423) with the three projections of attention in one product; the head takes the mean states after
each of the last layers. The graph that onnxruntime is given on the CPU has the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aimds import kernels

_DENSE = ("qkv", "out", "up", "down")
_NORMS = ("norm1", "norm2")


def names(layers: int) -> list[str]:
    """Names of all weights of an encoder with so many layers."""
    parts = ["norm", *(f"layer.{layer}.{part}" for layer in range(layers) for part in (*_DENSE, *_NORMS)), "head"]
    return ["word", "position", "channel", *(f"{part}.{kind}" for part in parts for kind in ("weight", "bias"))]


def token_bytes(weights: Mapping[str, Any]) -> int:
    """Bytes that `forward` holds at once for each token."""
    width = weights["word"].shape[1]
    hidden = max((array.shape[1] for name, array in weights.items() if name.endswith(".up.weight")), default=0)
    return 4 * int(2 * width + max(2 * hidden, 4 * width))


def forward(
    weights: Mapping[str, Any], tokens: Any, offsets: Any, kinds: Any, *, layers: int, heads: int, threads: int = 1
) -> Any:
    """Logits float32 (W, classes) of W windows; all arrays live on one machine, and so do the logits.

    Args:
        weights: float32 arrays by `names`, matrices as (in, out); the head's as (K * width, classes),
            for the last K layers.
        tokens, offsets: word pieces int32 (N,) and int64 (W+1,). kinds: int32 (W,), 1 for tool or document text.

    Raises:
        KernelError: an array does not fit the others.
    """

    def dense(states: Any, name: str) -> tuple[Any, Any]:
        # The bias goes to the kernel that takes the product, which saves a way through the memory.
        return kernels.matmul(states, weights[f"{name}.weight"]), weights[f"{name}.bias"]

    def norm(name: str) -> tuple[Any, Any]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    def attended(states: Any, name: str) -> Any:
        return kernels.attention(*dense(states, name), offsets, heads, threads=threads)

    def activated(states: Any, name: str) -> Any:
        return kernels.bias_gelu(*dense(states, name), threads=threads)

    def added(states: Any, inner: Any, name: str, by: str) -> Any:
        return kernels.add_norm(states, *dense(inner, name), *norm(by), threads=threads)

    tables = weights["word"], weights["position"], weights["channel"], *norm("norm")
    states = kernels.embed(tokens, offsets, kinds, *tables, threads=threads)
    weight, bias = norm("head")
    width = weights["word"].shape[1]
    unpooled, logits = layers - len(weight) // width, None
    for layer in range(layers):
        at = f"layer.{layer}"
        # What a step leaves has no name here: it is freed as soon as it was added.
        states = added(states, attended(states, f"{at}.qkv"), f"{at}.out", f"{at}.norm1")
        states = added(states, activated(states, f"{at}.up"), f"{at}.down", f"{at}.norm2")
        if layer >= unpooled:
            rows = slice((layer - unpooled) * width, (layer - unpooled + 1) * width)
            share = bias if logits is None else 0 * bias
            found = kernels.pooled_logits(states, offsets, weight[rows], share, threads=threads)
            logits = found if logits is None else logits + found
    return logits
