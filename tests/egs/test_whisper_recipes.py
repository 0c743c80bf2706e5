"""Recipes on Whisper's encoder in small form: probes of all its layers, and all of it trained."""

import pytest
from sertools.tables import Run
from smoke import Smoke


@pytest.fixture(scope="module")
def smoke(repository, tmp_path_factory):
    return Smoke(repository, tmp_path_factory.mktemp("whisper_recipes"))


@pytest.mark.parametrize("config, key, score", [
    ("relevance_probes", "upstream.source", "CCC"),
    ("wavlm_probe", "upstream.source", "UA"),
    ("wavlm_finetune", "trainer.encoder.source", "UA"),
])
def test_recipes_take_whisper(smoke, config, key, score):
    outcome = smoke.run(Run("emodb", config, ((key, "openai/whisper-base"),)))
    assert outcome.results["summary"][score]["pooled"] is not None
    layers, dim = 6, 16
    block = (4 * dim * dim + 3 * dim) + (2 * dim * 24 + 24 + dim) + 4 * dim  # keys have no bias
    front = 3 * 80 * dim + dim + 3 * dim * dim + dim + 100 * dim + 2 * dim
    assert outcome.results["cost"]["encoder"]["parameters"] == layers * block + front
