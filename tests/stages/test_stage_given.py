"""What stages take over from a run's configuration."""

from types import SimpleNamespace

import pytest
from sertools.errors import ConfigError
from sertools.stages.given import num_workers


@pytest.mark.parametrize("count", [-1, 1.5, True, "two", None])
def test_a_count_of_processes_that_is_none_is_refused(count):
    with pytest.raises(ConfigError, match="num_workers: .*; give 0"):
        num_workers(SimpleNamespace(config={"num_workers": count}))


def test_without_a_word_the_training_process_loads():
    assert num_workers(SimpleNamespace(config={})) == 0
    assert num_workers(SimpleNamespace(config={"num_workers": 3})) == 3
