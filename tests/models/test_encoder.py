"""The encoder: shapes, lengths, padding, masks, tokens, training."""

import pytest
import torch


@pytest.fixture
def waves():
    torch.manual_seed(1)
    return 0.1 * torch.randn(4, 8000) + 0.02, torch.tensor([8000, 5123, 3000, 250])


def test_alone_and_padded_agree(a_tiny_encoder, waves):
    encoder, (waveforms, lengths) = a_tiny_encoder, waves
    with torch.no_grad():
        together = encoder(waveforms, lengths, hidden=True)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(waveforms[row : row + 1, :length], hidden=True)
            frames = int(together.lengths[row])
            assert frames == alone.lengths.item() == alone.last.shape[1]
            for one, other in zip(together.hidden, alone.hidden, strict=True):
                torch.testing.assert_close(one[row, :frames], other[0], atol=1e-4, rtol=0)
            torch.testing.assert_close(
                together.last[row, :frames], alone.last[0], atol=1e-4, rtol=0
            )
