"""Examples are the right sound with the right name and target, whoever loads them."""

import pytest
import soundfile
import torch
from sertools.data.audio import AudioReader
from sertools.data.batching import BucketBatchSampler, collate
from sertools.data.dataset import AudioDataset
from sertools.data.record import Record
from torch.utils.data import DataLoader


@pytest.fixture
def corpus(tmp_path):
    manifest = {}
    for number in range(6):
        samples = torch.linspace(0, 0.1 * (number + 1), 800 * (number + 2))
        soundfile.write(tmp_path / f"{number}.wav", samples.numpy(), 16000)
        id = f"toy-{number}"
        manifest[id] = Record(id=id, path=f"{number}.wav", duration=len(samples) / 16000)
    return tmp_path, manifest


def test_examples_carry_name_sound_and_target(corpus):
    folder, manifest = corpus
    targets = {"toy-4": 1, "toy-0": 0}
    data = AudioDataset(manifest, ["toy-4", "toy-0"], folder, AudioReader(normalise=False), targets)
    assert data.ids == ["toy-4", "toy-0"] and data.seconds == [0.3, 0.1] and len(data) == 2
    example = data[0]
    assert (example.id, example.target, example.inputs.shape) == ("toy-4", 1, (4800,))
    assert float(example.inputs[-1]) == pytest.approx(0.5, abs=1e-4)
    assert AudioDataset(manifest, ["toy-1"], folder, AudioReader())[0].target is None


def cropped(corpus, epoch=1, seed=0, workers=0):
    folder, manifest = corpus
    reader = AudioReader(crop="random", crop_seconds=0.1, normalise=False)
    data = AudioDataset(manifest, list(manifest), folder, reader, seed=seed)
    assert max(data.seconds) == 0.1
    data.set_epoch(epoch)
    sampler = BucketBatchSampler(data.seconds, 0.25, shuffle=True, seed=seed)
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=collate, num_workers=workers)
    return {
        id: row[:length]
        for batch in loader
        for id, row, length in zip(batch.ids, batch.inputs, batch.lengths, strict=True)
    }


def equal(one, other):
    return all(torch.equal(one[id], other[id]) for id in one)


def test_random_crops_depend_on_seed_epoch_and_utterance_alone(corpus):
    first = cropped(corpus)
    torch.manual_seed(123)  # the global generator has no say
    assert equal(first, cropped(corpus))
    assert equal(first, cropped(corpus, workers=2))
    assert not equal(first, cropped(corpus, epoch=2))
    assert not equal(first, cropped(corpus, seed=1))
    assert all(len(row) == 1600 for row in first.values())
