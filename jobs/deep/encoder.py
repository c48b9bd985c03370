"""The encoder in torch: layers of a pretrained BERT, mean pooling, one linear head over the classes.

Source: Devlin et al. 2019 (doi:10.18653/v1/N19-1423). The segment embedding says which channel a text comes from, so
that the same sentence can be harmless from a user and planted in a document. Word embeddings stay as pretrained.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

F32 = npt.NDArray[np.float32]

WIDTH, HEADS, HIDDEN = 384, 12, 1536
CLASSES = ("benign", "attack", "harmful")
EPSILON = 1e-12


class Layer(nn.Module):
    """One transformer layer, normalised after each residual sum."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH, eps=EPSILON), nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        rows, tokens, _ = x.shape
        query, key, value = self.qkv(x).view(rows, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        # Written out: the fused attention of torch on a CPU takes half of a step, backwards.
        weights = torch.softmax(query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5 + mask, -1)
        flat = (weights @ value).transpose(1, 2).reshape(rows, tokens, WIDTH)
        x = self.norm1(x + self.out(flat))
        raised: Tensor = self.norm2(x + self.down(functional.gelu(self.up(x))))
        return raised


class Encoder(nn.Module):
    """``layers`` layers and a head.

    Args:
        pretrained: the weights it begins with, named and turned as `arrays` gives them; without a head a new one.
    """

    def __init__(self, pretrained: Mapping[str, F32], *, layers: int) -> None:
        super().__init__()
        self.word = nn.Parameter(torch.empty(pretrained["word"].shape), requires_grad=False)
        self.position = nn.Parameter(torch.empty(pretrained["position"].shape))
        self.channel = nn.Parameter(torch.empty(pretrained["channel"].shape))
        self.norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.layer = nn.ModuleList(Layer() for _ in range(layers))
        self.head = nn.Linear(WIDTH, len(CLASSES))
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        head = {f"head.{part}": getattr(self.head, part).detach().numpy().T for part in ("weight", "bias")}
        self.restore({**head, **pretrained})

    def forward(self, ids: Tensor, mask: Tensor, untrusted: Tensor) -> Tensor:
        """Logits (B, classes) of ``ids`` int64 (B, T), where ``mask`` bool (B, T), of channels int64 (B,)."""
        places = self.position[: ids.shape[1]] + self.channel[untrusted][:, None]
        x = self.norm(functional.embedding(ids, self.word) + places)
        seen = torch.where(mask, 0.0, -torch.inf)[:, None, None, :]
        for layer in self.layer:
            x = layer(x, seen)
        weight = mask[..., None].to(x.dtype)
        logits: Tensor = self.head((x * weight).sum(1) / weight.sum(1))
        return logits

    def arrays(self) -> dict[str, F32]:
        """Weights by name, float32, matrices as (in, out); `restore` is the reverse."""
        out = {}
        for name, tensor in self.state_dict().items():
            array = tensor.detach().numpy().astype(np.float32)
            out[name] = np.ascontiguousarray(array.T) if _is_turned(name) else array.copy()
        return out

    def restore(self, arrays: Mapping[str, F32]) -> None:
        """Take over weights that `arrays` gave."""
        turned = {name: array.T if _is_turned(name) else array for name, array in arrays.items()}
        self.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in turned.items()})


def _is_turned(name: str) -> bool:
    return name.endswith(".weight") and "norm" not in name
