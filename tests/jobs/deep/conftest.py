"""A pretrained encoder with random weights, as a folder as it is downloaded."""

from pathlib import Path

import encoder_file
import pytest

PIECES = [*encoder_file.PIECES, "[MASK]"]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch", reason="torch is not installed; make test-train installs it")
    save_file = pytest.importorskip("safetensors.torch", reason="safetensors is not installed").save_file
    from aimds.jobs.deep.encoder import HIDDEN, WIDTH

    draw = torch.Generator().manual_seed(0)

    def random(*shape: int):  # type: ignore[no-untyped-def]
        return torch.randn(*shape, generator=draw) * 0.05

    weights = {
        "embeddings.word_embeddings.weight": random(len(PIECES), WIDTH),
        "embeddings.position_embeddings.weight": random(200, WIDTH),
        "embeddings.token_type_embeddings.weight": random(2, WIDTH),
    }
    at = "encoder.layer.0."
    shapes = {f"{at}attention.self.{name}": (WIDTH, WIDTH) for name in ("query", "key", "value")}
    shapes |= {f"{at}attention.output.dense": (WIDTH, WIDTH), f"{at}intermediate.dense": (HIDDEN, WIDTH)}
    shapes |= {f"{at}output.dense": (WIDTH, HIDDEN)}
    for name, (out, into) in shapes.items():
        weights |= {f"{name}.weight": random(out, into), f"{name}.bias": random(out)}
    for name in ("embeddings.LayerNorm", f"{at}attention.output.LayerNorm", f"{at}output.LayerNorm"):
        weights |= {f"{name}.weight": 1 + random(WIDTH), f"{name}.bias": random(WIDTH)}
    file = tmp_path_factory.mktemp("pretrained") / "model.safetensors"
    save_file(weights, str(file))
    (file.parent / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    return file
