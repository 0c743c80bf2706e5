"""Augmentation: changes what it says, leaves padding alone, draws from torch only."""

import pytest
import torch
from sertools.brains.augmentation import Augmentation
from sertools.errors import ConfigError

LENGTHS = torch.tensor([1600, 900])


@pytest.fixture
def waveforms():
    torch.manual_seed(0)
    waves = torch.randn(2, 1600)
    waves[1, 900:] = 0
    return waves


@pytest.mark.parametrize("options", [
    {"speeds": [80, 125]}, {"noise": [0, 10]}, {"silences": 3, "silence_seconds": 0.01},
    {"speeds": [90, 110], "noise": [5, 5], "silences": 2},
])
def test_padding_stays_zero_and_torch_decides(waveforms, options):
    change = Augmentation(16000, **options)
    torch.manual_seed(1)
    changed, lengths = change(waveforms, LENGTHS)
    assert bool((lengths <= changed.shape[1]).all())
    assert changed[1, lengths[1]:].abs().sum() == 0
    assert changed.shape != waveforms.shape or not torch.equal(changed, waveforms)
    torch.manual_seed(1)
    again, _ = change(waveforms, LENGTHS)
    assert torch.equal(changed, again)


def test_speed_changes_the_length(waveforms):
    changed, lengths = Augmentation(16000, speeds=[80])(waveforms, LENGTHS)
    assert lengths.tolist() == [2000, 1125] and changed.shape[1] == 2000


def test_noise_has_the_ratio_that_was_asked_for(waveforms):
    clean = torch.sin(torch.arange(16000) * 0.1)[None]
    noisy, _ = Augmentation(16000, noise=[10, 10])(clean, torch.tensor([16000]))
    share = float((noisy * clean).sum() / clean.square().sum())
    rest = noisy - share * clean
    ratio = 10 * torch.log10((share * clean).square().mean() / rest.square().mean())
    assert float(ratio) == pytest.approx(10, abs=1)


def test_silences_are_no_longer_than_asked_for(waveforms):
    waves = torch.ones(1, 1600)
    changed, _ = Augmentation(16000, silences=1, silence_seconds=0.01)(waves, torch.tensor([1600]))
    assert int((changed == 0).sum()) <= 160


def test_mistakes_are_named():
    with pytest.raises(ConfigError) as caught:
        Augmentation(16000, speeds=[1], noise=[10, 1], silences=-1)
    assert len(caught.value.problems) == 3
