"""Official files of emotion2vec, emotion2vec+ and data2vec 2.0 (audio), both ways.

* `emotion2vec_base.pt`, data2vec 2.0's `base_libri.pt` and files of a pretraining: fairseq's
  dictionary with `cfg` and `model`; `model["_ema"]` is the teacher, if there.
* emotion2vec+ and fine-tuned models (`model.pt`): names begin with `d2v_model.`, and `proj.*` is a
  classifier whose labels `tokens.txt` lists.

Depth, heads and widths are read from shapes and must agree with `cfg`; see `data2vec2.structure`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.models.bare import bare
from sertools.models.config import EncoderConfig
from sertools.models.emotion2vec import Distillation, Emotion2vec
from sertools.models.encoder import SpeechEncoder
from sertools.models.heads import EncoderWithHead, UtteranceHead
from sertools.models.weights.checkpoint import Checkpoint, checkpoint, read
from sertools.models.weights.data2vec2 import AUDIO, DECODER, Structure, their_name, to_ours
from sertools.models.weights.fairseq import read_fairseq
from sertools.models.weights.official import save_official
from torch import Tensor, nn

__all__ = ["load_classifier", "load_file", "load_start", "save_official"]

LABELS = ("angry", "disgusted", "fearful", "happy", "neutral", "other", "sad", "surprised", "<unk>")
"""Outputs of the published classifiers, in order, where no tokens.txt says otherwise."""


def load_file(path: Path, content: Any = None, **overrides: Any) -> SpeechEncoder:
    """Load the encoder of a file; decoder, teacher and classifier in it are left.

    Raises:
        ConfigError: as `read`; or missing, unexpected and wrongly shaped tensors, all at once.
    """
    return _encoder(checkpoint(read_fairseq(path) if content is None else content, path), overrides)


def load_classifier(source: str | Path, **overrides: Any) -> tuple[EncoderWithHead, list[str]]:
    """Load a fine-tuned model: waveforms to the outputs before the softmax, and their labels.

    Args:
        source: a file, a published folder (tokens.txt in it lists the labels, "own/english"), or
            a Hugging Face id such as "emotion2vec/emotion2vec_plus_large".
        overrides: settings of the encoder that no weight depends on, such as dropouts.

    Returns:
        The model in eval mode: proj(mean over valid frames); and its labels in English.

    Raises:
        ConfigError: as `load_file`; there is no classifier, or labels and outputs differ in number.
    """
    found = read(source)
    weight, bias = (found.tensors.get(f"proj.{name}") for name in ("weight", "bias"))
    if weight is None or bias is None:
        raise ConfigError(
            f"{found.path}: there is no classifier in it (proj.weight, proj.bias).",
            remedy="take a fine-tuned model such as emotion2vec/emotion2vec_plus_large",
        )
    encoder, labels = _encoder(found, overrides), _labels(found.path, len(weight))
    if weight.shape != (len(labels), encoder.dim) or bias.shape != (len(labels),):
        raise ConfigError(
            f"{found.path}: the classifier does not fit the encoder.",
            [f"proj.weight: shape {tuple(weight.shape)}, proj.bias: {tuple(bias.shape)}; expected "
             f"({len(labels)}, {encoder.dim}) and ({len(labels)},)"],
        )  # fmt: skip
    head = UtteranceHead(1, encoder.dim, len(labels), layers="last", projection=None)
    with torch.no_grad():
        head.output.weight.copy_(weight)
        head.output.bias.copy_(bias)
    return EncoderWithHead(encoder, head).eval(), labels


def _labels(path: Path, outputs: int) -> list[str]:
    listed = path.with_name("tokens.txt")
    labels = list(LABELS)
    if listed.is_file():
        lines = listed.read_text(encoding="utf-8-sig").splitlines()
        labels = [line.strip().rpartition("/")[2] for line in lines if line.strip()]
    if len(labels) != outputs:
        raise ConfigError(
            f"{path}: the classifier has {outputs} outputs, but there are {len(labels)} labels.",
            remedy=f"put the model's own tokens.txt beside it ({listed}), one label per line",
        )
    return labels


def load_start(source: str | Path, model: Distillation) -> None:
    """Fill student and teacher with published weights, in place.

    A data2vec 2.0 file must lack exactly the extra tokens: the student's stay as they are, the
    teacher's become copies of them, and the teacher is the file's `_ema`. From an emotion2vec file
    the teacher is `_ema` if there, else a copy of the student.

    Args:
        source: what `read` takes, with a decoder in it.
        model: student and teacher of the same structure.

    Raises:
        ConfigError: as `read`; the structures differ; missing or unexpected tensors.
    """
    found, student = read(source), model.student
    held = found.structure()
    problems = _differences(held, student)
    fresh = held.encoder.extra_tokens == 0 < student.config.extra_tokens
    if fresh and found.teacher is None:
        problems.append("_ema: missing; a data2vec 2.0 start needs the teacher in the file")
    if problems:
        raise ConfigError(
            f"{found.path}: not of the structure of the model that it should start.",
            problems,
            "configure the model as the file is, or name another file",
        )
    _refuse_infinite(found)
    context, absent = student.context_layers, {AUDIO + "extra_tokens"} if fresh else ()
    sides = [(student.encoder, ""), (student.decoder, "decoder.")]
    state, problems = _matched(sides, found.tensors, context, absent)
    left = set(found.tensors) - {their_name(name, context) for name in state}
    problems += [f"{name}: unexpected" for name in sorted(left)]
    if found.teacher is not None:
        own, faults = _matched([(model.teacher.encoder, "")], found.teacher, context, absent)
        left = set(found.teacher) - {their_name(name, context) for name in own}
        problems += [f"_ema: {fault}" for fault in faults]
        problems += [f"_ema: {name}: unexpected" for name in sorted(left)]
    if problems:
        raise ConfigError(f"{found.path}: weights and model do not fit together.", problems)
    with torch.no_grad():
        _copy(student.encoder, state, "")
        _copy(student.decoder, state, "decoder.")
        _copy(model.teacher.encoder, student.encoder.state_dict(), "")
        if found.teacher is not None:
            _copy(model.teacher.encoder, own, "")


def _refuse_infinite(found: Checkpoint) -> None:
    sides = {"": found.tensors, "_ema: ": found.teacher or {}}
    odd = [f"{side}{name}: NaN or infinite numbers" for side, tensors in sides.items()
           for name, value in tensors.items() if not bool(value.isfinite().all())]  # fmt: skip
    if odd:
        raise ConfigError(
            f"{found.path}: broken weights.", odd, "take one from before the training diverged"
        )


def _encoder(found: Checkpoint, overrides: Mapping[str, Any]) -> SpeechEncoder:
    held = found.structure()
    config = EncoderConfig.from_dict({**held.encoder.to_dict(), **overrides}, str(found.path))
    with bare():
        encoder = SpeechEncoder(config)
    state, problems = _matched([(encoder, "")], found.tensors, held.context_layers)
    used = {their_name(name, held.context_layers) for name in state}
    problems += [
        f"{name}: unexpected, no part of the encoder uses it"
        for name in found.tensors
        if name not in used and not name.startswith((DECODER, "proj."))
    ]
    if problems:
        raise ConfigError(
            f"{found.path}: weights and configuration do not fit together.",
            problems,
            "check that the file is whole and of this kind of model",
        )
    if encoder.mask_embedding is not None:
        state["mask_embedding"] = torch.rand(config.dim)
    encoder.load_state_dict(state, assign=True)
    for parameter in encoder.parameters():
        parameter.requires_grad_(True)
    return encoder.eval()


def _matched(
    sides: list[tuple[nn.Module, str]],
    tensors: Mapping[str, Tensor],
    context_layers: int,
    absent: Collection[str] = (),
) -> tuple[dict[str, Tensor], list[str]]:
    """Return copies by our names (with each side's prefix), and what is missing or misshapen."""
    state, problems = {}, []
    for module, prefix in sides:
        for name, ours in module.state_dict().items():
            if name == "mask_embedding":  # in no file of this kind
                continue
            theirs = their_name(prefix + name, context_layers)
            if theirs in absent and theirs not in tensors:
                continue
            if theirs not in tensors:
                problems.append(f"{theirs}: missing")
                continue
            tensor = to_ours(prefix + name, tensors[theirs]).float()
            state[prefix + name] = tensor.clone(memory_format=torch.contiguous_format)
            if tensor.shape != ours.shape:
                problems.append(
                    f"{theirs}: shape {tuple(tensors[theirs].shape)}, expected "
                    f"{tuple(ours.shape)} after conversion"
                )
    return state, problems


def _copy(module: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    for name, ours in module.state_dict().items():
        if prefix + name in state:
            ours.copy_(state[prefix + name])


_FREE = {"normalise_waveform", "mask_embedding", "dropout", "attention_dropout", "layerdrop",
         "activation_dropout", "attention", "sample_rate"}  # fmt: skip


def _differences(held: Structure, student: Emotion2vec) -> list[str]:
    """Return which settings that weights depend on differ between file and model."""
    theirs, ours = held.encoder.to_dict(), student.config.to_dict()
    told = {name: (theirs[name], ours[name]) for name in theirs if name not in _FREE}
    if not held.encoder.extra_tokens:
        del told["extra_tokens"]  # data2vec 2.0: the tokens are new
    for name in ("num_mels", "mel_stack", "mel_norm", "num_buckets", "max_distance"):
        del told[name]
    told["context_layers"] = (held.context_layers, student.context_layers)
    if held.decoder is None:
        told["decoder"] = ("none", "one")
    else:
        for name in ("dim", "kernel", "groups", "layers"):
            pair = (getattr(held.decoder, name), getattr(student.decoder.config, name))
            told[f"decoder {name}"] = pair
    return [f"{name}: {one} in the file, {other} in the model"
            for name, (one, other) in told.items() if one != other]  # fmt: skip
