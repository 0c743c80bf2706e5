"""What the tests of pretraining on a teacher's frames share: what is left, and every update."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from test_resume import assert_equal

FEW = {"exclude": ["toy/s0", "toy/s1"]}
"""Leaves four utterances."""


def lines_of(folder: Path) -> list[dict]:
    """Return the lines of `metrics.jsonl` without the speed."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line.pop("audio_seconds_per_second") > 0
    return lines


def notes_of(folder: Path, rank: int = 0) -> list[dict]:
    """Return what `toy_vesper.Watching` noted of every update."""
    return torch.load(folder / f"notes.rank{rank}.ckpt", weights_only=True)


def result_of(folder: Path, origin: str) -> dict:
    """Return what a pretraining leaves, without the times; `origin` is a file's stem."""
    newest = max((folder / "checkpoints").glob("CKPT*"))
    last = {name: torch.load(newest / f"{name}.ckpt", weights_only=True)
            for name in ("model", "optimizer")}
    return {
        "best": load_file(folder / "best/encoder/model.safetensors"),
        "kept": load_file(folder / "epoch0002/model.safetensors"), "last": last["model"],
        "optimizer": last["optimizer"]["state"], "lines": lines_of(folder),
        **{name: json.loads((folder / f"{name}.json").read_text())
           for name in ("training", origin)},
    }


def check_updates(slow_update, ranks: list[list[dict]]) -> list:
    """Compare every update that was noted with one obvious computation.

    Args:
        slow_update: from the weights and the passes of an update, its gradients and losses.
        ranks: the notes of every process.

    Returns:
        the losses of every update.
    """
    assert len({len(notes) for notes in ranks}) == 1
    found = []
    for step in range(len(ranks[0]) - 1):
        weights = ranks[0][step]["weights"]
        for notes in ranks:
            assert_equal(notes[step]["weights"], weights)
        passes = [one for notes in ranks for one in notes[step]["passes"]]
        expected, losses = slow_update(weights, passes)
        noted = ranks[0][step]["gradients"]
        assert expected.keys() == noted.keys()
        largest = max(float(value.abs().max()) for value in expected.values())
        for name, value in expected.items():
            torch.testing.assert_close(noted[name], value, rtol=2e-3, atol=1e-5 * largest)
        found.append(losses)
    return found
