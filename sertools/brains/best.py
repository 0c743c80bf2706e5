"""The best model of a unit: its trained weights as safetensors and a description as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sertools.brains.weights import TrainedWeights, refuse_non_finite
from sertools.errors import ConfigError, DataError
from sertools.files import read_json, sha256, write_json

DESCRIPTION = "best.json"
FILES = ("model.safetensors", DESCRIPTION)


def write_model(folder: Path, weights: TrainedWeights, description: Mapping[str, Any]) -> None:
    """Write trained weights and what must be known to use them into an existing folder.

    Raises:
        NonFiniteWeights: a weight is NaN or infinite.
    """
    state = {name: tensor.detach().cpu().contiguous().clone()
             for name, tensor in weights.state_dict().items()}
    refuse_non_finite("model", state)
    save_file(state, folder / FILES[0])
    write_json(folder / FILES[1], {
        **description,
        "frozen_weights": weights.frozen,
        "sha256": sha256(folder / FILES[0]),
    })


def read_description(folder: Path) -> dict[str, Any]:
    """Return what `write_model` was told about the model.

    Raises:
        DataError: there is no such model, or its weights are not those that were written.
    """
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise DataError(f"{folder} holds no trained model", [f"{name} is missing"
                        for name in missing], "run stage train")
    description = read_json(folder / FILES[1])
    if sha256(folder / FILES[0]) != description["sha256"]:
        raise DataError(f"{folder / FILES[0]} is damaged: its SHA-256 is not what was written",
                        remedy=f"delete {folder.parent} and run stage train again")
    return description


def read_model(folder: Path, model: torch.nn.Module) -> dict[str, Any]:
    """Load trained weights into a model that was built alike; return the description.

    Raises:
        DataError: there is no such model, or it is damaged.
        ConfigError: the weights are those of another model, or frozen parts differ.
    """
    description = read_description(folder)
    weights = TrainedWeights(model)
    if weights.frozen != description["frozen_weights"]:
        raise ConfigError(
            f"{folder} was trained on top of other frozen weights",
            [f"{description['frozen_weights']} then, {weights.frozen} now"],
            "use the same upstream, or run stage train again",
        )
    weights.load_state_dict(load_file(folder / FILES[0]))
    return description
