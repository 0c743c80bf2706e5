"""What every test shares."""

import os
from pathlib import Path

import pytest
import sertools  # noqa: F401  mends torchaudio before anything imports it

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the checkout."""
    return REPOSITORY


@pytest.fixture
def real_data():
    """Return a function from a corpus name to its folder of real recordings; skip if absent."""

    def folder(corpus: str) -> Path:
        roots = [os.environ.get("SERTOOLS_REAL_DATA"), REPOSITORY.parent / "shared" / "data"]
        for root in filter(None, roots):
            if (Path(root) / corpus).is_dir():
                return Path(root) / corpus
        pytest.skip(f"no recordings of {corpus}: set SERTOOLS_REAL_DATA to a folder that has them")

    return folder


@pytest.fixture(scope="session")
def tiny_plus(tmp_path_factory) -> Path:
    """Return a folder with a small classifier of random weights in emotion2vec+'s layout."""
    import torch
    from sertools.models.emotion2vec import DecoderConfig, Emotion2vec
    from sertools.models.presets import build_encoder
    from sertools.models.weights.emotion2vec import save_official

    folder, sizes = tmp_path_factory.mktemp("plus"), {"dim": 32, "num_layers": 2, "num_heads": 2}
    torch.manual_seed(0)
    encoder = build_encoder("emotion2vec_base", **sizes, ffn_dim=64, conv_dim=16)
    model = Emotion2vec(encoder, DecoderConfig(dim=32), 1)
    content = torch.load(save_official(model, folder / "pretrained.pt"), weights_only=True)
    tensors = {f"d2v_model.{name}": value for name, value in content["model"].items()
               if ".decoder." not in name}  # fmt: skip
    tensors |= {"proj.weight": torch.randn(9, 32), "proj.bias": torch.randn(9)}
    torch.save(tensors, folder / "model.pt")
    (folder / "pretrained.pt").unlink()
    names = "angry disgusted fearful happy neutral other sad surprised <unk>".split()
    lines = [f"标/{name}" if name != "<unk>" else name for name in names]
    (folder / "tokens.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder
