"""`python -m sertools info`: what a model costs, by its name or by the recipe that uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.table import Table
from sertools.errors import ConfigError
from sertools.models.account import describe, find
from sertools.models.emotion2vec import DecoderConfig, Emotion2vec
from sertools.models.presets import build_encoder
from sertools.recipe.config import Config
from sertools.recipe.relative import root
from torch import nn


def print_account(model: str, seconds: float = 10.0, as_json: bool = False) -> None:
    """Print a model's account as a table or as JSON.

    Args:
        model: whatever `models.account.describe` takes by name, or a recipe's YAML file.
        seconds: length of the utterance that is counted.
        as_json: print JSON.

    Raises:
        ConfigError: if there is no such model.
    """
    is_yaml = Path(model).suffix in (".yaml", ".yml")
    account = describe(encoder_of(Path(model)) if is_yaml else model, seconds) | {"name": model}
    if as_json:
        print(json.dumps(account, indent=1))
        return
    table = Table(title=account["name"], title_justify="left")
    table.add_column("part")
    for heading in ("parameters", "trainable", f"MMAC per second ({seconds:g} s)"):
        table.add_column(heading, justify="right")
    for row in account["parts"]:
        table.add_row(*_cells(row))
    table.add_section()
    table.add_row(*_cells({**account, "name": "total"}))
    Console().print(table)


def _cells(row: dict[str, Any]) -> list[str]:
    counts = [f"{row[key]:,}" for key in ("parameters", "trainable")]
    return [row["name"], *counts, f"{row['macs_per_second'] / 1e6:,.1f}"]


def encoder_of(path: Path) -> nn.Module:
    """Return the encoder that the YAML file of a recipe builds or loads, with its decoder if it
    is to be pretrained.

    Raises:
        ConfigError: there is no such file, or no encoder in it.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file.")
    recipe = path.absolute().parent
    recipe = recipe.parent if recipe.name == "hparams" else recipe
    for node in _mappings(Config(path, {}, recipe).nodes.values()):
        function = node.tag.rpartition(".")[2]
        if function == "Emotion2vecPretrainer":
            return _pretrained(node)
        if function in ("build_encoder", "untrained_upstream"):
            return _built(node)
        if function == "load_upstream":
            return find(root(_plain(node)["source"], recipe))
    raise ConfigError(f"{path}: no encoder in it (build_encoder or load_upstream).")


def _pretrained(node) -> nn.Module:
    """Return encoder and decoder of an `Emotion2vecPretrainer`."""
    parts = {key.value: value for key, value in node.value}
    decoder = _plain(parts["decoder"]) if "decoder" in parts else {}
    with torch.device("meta"):
        return Emotion2vec(
            _built(parts["encoder"]), DecoderConfig(**decoder), int(parts["context_layers"].value)
        )


def _built(node) -> nn.Module:
    values = _plain(node)
    values.pop("seed", None)
    with torch.device("meta"):
        return build_encoder(**values)


def _plain(node) -> dict[str, Any]:
    """Return the values of one section, whatever it is to become."""
    plain = yaml.MappingNode("tag:yaml.org,2002:map", node.value)
    return yaml.SafeLoader("").construct_mapping(plain, deep=True)


def _mappings(nodes) -> Iterator[Any]:
    """Walk through all mappings below YAML nodes."""
    for node in nodes:
        if node.id == "mapping":
            yield node
            yield from _mappings(value for _, value in node.value)
        elif node.id == "sequence":
            yield from _mappings(node.value)
