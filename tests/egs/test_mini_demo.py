"""What `make demo` runs, in a tiny form: teacher, student, fine-tuning, one table."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
from recipes import copy_recipe, results_of, run_recipe

TINY = {
    r"speakers: 12, utterances: 10": "speakers: 6, utterances: 2",
    r"    epochs: \d+": "    epochs: 2",
    r"warmup_updates: \d+": "warmup_updates: 1",
    r"dim: 96": "dim: 24",
    r"ffn_dim: 384": "ffn_dim: 48",
    r"allow_subset: false": "allow_subset: true",
    r"checkpoint_minutes: 0.5": "checkpoint_minutes: 0.01",
}
DEMO = ("classical", "emotion2vec", "vesper", "vesper_finetune")


@pytest.fixture
def mini(repository, tmp_path):
    """Return a copy of the recipe with few utterances and short trainings."""
    recipe = copy_recipe(repository, "mini", tmp_path)
    for path in recipe.glob("hparams/*.yaml"):
        text = path.read_text()
        for old, new in TINY.items():
            text = re.sub(old, new, text)
        path.write_text(text)
    return recipe


def kill_at(recipe, config: str, words: str) -> None:
    """Kill a run when it prints something."""
    process = subprocess.Popen(
        [sys.executable, "run.py", config], cwd=recipe, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1",
                                       "PYTHONUNBUFFERED": "1"})  # fmt: skip
    seen = []
    for line in process.stdout:
        seen.append(line)
        if words in line:
            break
    else:
        pytest.fail("".join(seen))
    time.sleep(0.3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def test_a_student_before_its_teacher_says_what_to_run_first(mini):
    printed = run_recipe(mini, "hparams/vesper.yaml", code=2)
    assert "python run.py hparams/emotion2vec.yaml" in printed
    assert "Traceback" not in printed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_survives_kills_and_ends_in_one_table(mini, repository):
    makefile = (repository / "Makefile").read_text()
    assert tuple(re.findall(r"run\.py hparams/(\w+)\.yaml", makefile)) == DEMO
    kills = {"emotion2vec": ["stage 3 pretrain"], "vesper": ["stage 2 features",
             "stage 3 pretrain"], "vesper_finetune": ["stage 4 train, fold 2"]}  # fmt: skip
    for name in DEMO:
        config = f"hparams/{name}.yaml"
        for words in kills.get(name, []):
            kill_at(mini, config, words)
        run_recipe(mini, config)
    for name in DEMO:  # all of it again does nothing
        again = run_recipe(mini, f"hparams/{name}.yaml")
        assert not re.search(r"stage \d \w+.*: (?!done|not part)", again), again
    for name in DEMO:
        assert results_of(mini, name)["summary"]["UA"]["low"] is not None
    shutil.copytree(repository / "utils", mini.parents[1] / "utils")
    shown = subprocess.run(
        [sys.executable, "utils/show_results.py", *(f"egs/mini/exp/{name}" for name in DEMO)],
        cwd=mini.parents[1], text=True, capture_output=True, check=True).stdout
    assert "chance" in shown and "25.00" in shown and shown.count("[") > len(DEMO)
    assert re.search(r"vesper has \d+ % of the parameters of its teacher emotion2vec", shown)
