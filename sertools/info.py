"""`python -m sertools info`: what a model costs, by its name or by the recipe that uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table
from sertools.errors import ConfigError
from sertools.models.account import SoundAndPrompts, describe, find, roberta_base
from sertools.models.bare import bare
from sertools.models.config import EncoderConfig
from sertools.models.distilled import Distiller, student_config
from sertools.models.emotion2vec import DecoderConfig, Emotion2vec
from sertools.models.encoder import SpeechEncoder
from sertools.models.presets import RELEASES, build_encoder, preset_config
from sertools.models.text import small_text
from sertools.models.thinning import BEHAVIOUR, SIZES, thinned_config
from sertools.models.vesper import TERMS, WEIGHTS, Vesper
from sertools.recipe.config import Config
from sertools.recipe.relative import root
from sertools.recipe.tree import UNFILLED
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
    """Return the encoder that the YAML file of a recipe builds or loads; if it is to be
    pretrained, with its decoder, predictors or heads; of a `GemoClapTrainer` the whole model.

    Raises:
        ConfigError: there is no such file, or no encoder in it.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such file.")
    recipe = path.absolute().parent
    recipe = recipe.parent if recipe.name == "hparams" else recipe
    nodes = list(_mappings(Config(path, {}, recipe).nodes.values()))
    for node in nodes:
        if _function(node) == "Emotion2vecPretrainer":
            return _pretrained(node)
        if _function(node) == "VesperPretrainer":
            return _thinned(node, recipe)
        if _function(node) == "DistillerPretrainer":
            return _distilled(node, recipe)
        if _function(node) == "GemoClapTrainer" and (whole := _prompted(node)) is not None:
            return whole
    for node in nodes:
        if _function(node) in ("build_encoder", "untrained_upstream"):
            return _built(node)
        if _function(node) == "load_upstream":
            return find(_source(node, recipe))
    raise ConfigError(f"{path}: no encoder in it (build_encoder or load_upstream).")


def _function(node) -> str:
    return node.tag.rpartition(".")[2]


def _source(node, recipe: Path) -> str:
    """Return what a `load_upstream` loads, absolute if it is a relative path."""
    source = _plain(node).get("source")
    if not source or source == UNFILLED:
        raise ConfigError("load_upstream names no source.", remedy="fill in `source`")
    return root(str(source), recipe)


def _pretrained(node) -> nn.Module:
    """Return encoder and decoder of an `Emotion2vecPretrainer`."""
    parts = {key.value: value for key, value in node.value}
    decoder = _plain(parts["decoder"]) if "decoder" in parts else {}
    with bare():
        return Emotion2vec(
            _built(parts["encoder"]), DecoderConfig(**decoder), int(parts["context_layers"].value)
        )


def _thinned(node, recipe: Path) -> nn.Module:
    """Return student and predictors of a `VesperPretrainer`."""
    teacher, values = _taught(node, recipe)
    ways = {name: values[name] for name in ("initialisation", "blocks") if name in values}
    sizes = {name: values[name] for name in (*SIZES, *BEHAVIOUR) if name in values}
    config = thinned_config(teacher, values.get("layers", 12), **ways, **sizes)
    weights = {name: values.get(f"{name}_weight", WEIGHTS[name]) for name in TERMS}
    with bare():
        return Vesper(SpeechEncoder(config), teacher.dim, weights)


def _distilled(node, recipe: Path) -> nn.Module:
    """Return student and heads of a `DistillerPretrainer`."""
    teacher, values = _taught(node, recipe)
    if values.get("initialisation") == "file":
        config = find(root(str(values.get("source")), recipe)).config
    else:
        ways = {name: values[name] for name in ("initialisation", "blocks") if name in values}
        sizes = {name: values[name] for name in (*SIZES, *BEHAVIOUR) if name in values}
        config = student_config(teacher, values.get("layers", 2), **ways, **sizes)
    options = {name: values[name] for name in ("frontend_gradient",) if name in values}
    with bare():
        return Distiller(SpeechEncoder(config), teacher.dim,
                         len(values.get("teacher_layers", (4, 8, 12))), **options)


def _prompted(node) -> nn.Module | None:
    """Return both encoders and heads of a `GemoClapTrainer`; None if they are not known here."""
    parts = {key.value: value for key, value in node.value}
    values = _plain(yaml.MappingNode(node.tag, [
        pair for pair in node.value if pair[0].value not in ("audio", "text")]))
    sizes = {name: values[name] for name in ("dim", "pool", "layers", "text_pool")
             if name in values}
    audio, text = (parts[name] for name in ("audio", "text"))
    release = RELEASES.get(str(_plain(audio).get("source")).partition("@")[0])
    small, size = _function(text) == "small_text", values.get("tokeniser")
    if _function(audio) != "build_encoder" and release is None:
        return None
    if not (small and isinstance(size, int) or _plain(text).get("source") == "roberta-base"):
        return None
    with bare():
        heard = build_encoder(release, mask_embedding=True) if release else _built(audio)
        read = small_text(size, **_plain(text)) if small else roberta_base()
        return SoundAndPrompts(heard, read, **sizes)


def _taught(node, recipe: Path) -> tuple[EncoderConfig, dict[str, Any]]:
    """Return the structure of a pretrainer's teacher, and its other options."""
    parts = {key.value: value for key, value in node.value}
    if "teacher" not in parts:
        raise ConfigError("The pretrainer has no teacher.", remedy="fill in `teacher`")
    pairs = [(key, value) for key, value in node.value if key.value != "teacher"]
    return _teacher(parts["teacher"], recipe), _plain(yaml.MappingNode(node.tag, pairs))


def _teacher(node, recipe: Path) -> EncoderConfig:
    """Return the structure of a teacher, of a published one without its weights."""
    if _function(node) != "load_upstream":
        return _built(node).config
    source = _source(node, recipe)
    preset = RELEASES.get(source.partition("@")[0])
    return find(source).config if preset is None else preset_config(preset)


def _built(node) -> nn.Module:
    values = _plain(node)
    values.pop("seed", None)
    with bare():
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
