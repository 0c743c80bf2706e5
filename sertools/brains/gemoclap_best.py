"""What a trained GEmo-CLAP leaves: weights, prompts, class embeddings; and how to begin from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from sertools.brains.best import DESCRIPTION, FILES, read_description
from sertools.brains.weights import digest
from sertools.data.tokens import SentencePieceTokeniser, Tokeniser
from sertools.errors import ConfigError, DataError
from sertools.models.language_audio import LanguageAudio
from sertools.models.weights.gemoclap import load_into
from torch import Tensor, nn

CLASSES, TOKENISER = "class_embeddings.safetensors", "tokeniser.model"
AUDIO = "encoders.audio."
"""How the names of weights of the encoder of sound begin."""
_OPTIONAL = {"attribute_log_scales"}
"""Weights that only training uses."""


class ClosedSet(nn.Module):
    """Sound to logits for known classes; it needs no text encoder.

    Args:
        model: whose sound branch and scales are used.
        classes: unit vectors of the classes (K, dim).
    """

    def __init__(self, model: LanguageAudio, classes: Tensor):
        super().__init__()
        self.model = model
        self.register_buffer("classes", classes)

    def forward(self, inputs: Tensor, lengths: Tensor | None = None, *_: Any) -> Tensor:
        """Return logits (B, K); their softmax are the probabilities.

        Args:
            inputs, lengths: of `LanguageAudio.embed_audio`.
        """
        return self.model.logits(self.model.embed_audio(inputs, lengths), self.classes)


def write_more(folder: Path, classes: Tensor, names: Sequence[str], tokeniser: Tokeniser) -> None:
    """Write the embeddings (K, dim) of the classes and, if it was trained here, the tokeniser."""
    save_file({"embeddings": classes.contiguous()}, folder / CLASSES,
              {"classes": json.dumps(list(names))})
    if isinstance(tokeniser, SentencePieceTokeniser):
        (folder / TOKENISER).write_bytes(tokeniser.model.serialized_model_proto())


def _of_starts(folder: Path, description: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the model that one started from, and of those before it.

    What was frozen from then on is in their files alone.
    """
    place = description.get("start")
    if place is None or not (folder / place / FILES[0]).is_file():
        return {}
    earlier = folder / place
    return {**_of_starts(earlier, read_description(earlier)), **load_file(earlier / FILES[0])}


def read_classes(folder: Path) -> tuple[list[str], Tensor]:
    """Return the classes of a trained model in their order, and their unit vectors (K, dim).

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        with safe_open(folder / CLASSES, framework="pt") as file:
            return json.loads(file.metadata()["classes"]), file.get_tensor("embeddings")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / CLASSES} cannot be read", [str(error) or repr(error)],
                        f"delete {folder.parent} and run stage train again") from error


def load_classifier(
    folder: str | Path, audio: nn.Module | None = None, text: nn.Module | None = None
) -> ClosedSet:
    """Load a trained model for the classes it was evaluated with.

    `gemoclap_trained.load_trained` builds the encoders too, from what is stored beside the model.

    Args:
        folder: `best` of a unit.
        audio: the encoder of sound that the trainer built, pretrained where that one was; None for
            a model that was trained on cached features.
        text: likewise of texts; None: sentences cannot be embedded.

    Returns:
        in evaluation mode; waveforms (B, L) and samples (B,) to logits (B, K). `read_classes` gives
        the names, `read_description` the temperature that calibrates the probabilities.

    Raises:
        DataError: there is no such model, or it is damaged.
        ConfigError: the encoders are not those of the model, or on top of other weights.
    """
    folder = Path(folder)
    description = read_description(folder)
    refuse_other_kinds(folder, description)
    sizes, silent = description["sizes"], text is None
    if text is None:
        text = nn.Identity()
        text.dim = sizes["text_dim"]
    wide = {"audio_dim": sizes["audio_dim"], "audio_layers": sizes["audio_layers"]}
    model = LanguageAudio(audio, text, sizes["dim"], sizes["pool"], sizes["layers"],
                          sizes["text_pool"], **(wide if audio is None else {}))
    own = model.state_dict()
    state = {name: tensor for name, tensor in load_file(folder / FILES[0]).items()
             if not (silent and name.startswith("encoders.text.")) and name not in _OPTIONAL}
    frozen = sorted(own.keys() - state.keys())
    problems = _differences(state, own)
    problems += [f"{name}: not in the file" for name in frozen
                 if not name.startswith("encoders.")]
    for name, tensor in _of_starts(folder, description).items():
        if name in frozen and tensor.shape == own[name].shape:
            state[name] = tensor
    if problems:
        raise ConfigError(f"the encoder given is not that of {folder}", problems,
                          "build it as the trainer did")
    model.load_state_dict(state, strict=False)
    key, names = ("frozen_audio", [name for name in frozen if name.startswith(AUDIO)]) if silent \
        else ("frozen_weights", frozen)
    if key in description and digest(model.state_dict(), names) != description[key]:
        raise ConfigError(f"{folder} was trained on top of other frozen weights than those given",
                          remedy="give the pretrained encoders that it was trained with")
    return ClosedSet(model, read_classes(folder)[1]).eval()


def load_start(folder: Path, description: Mapping[str, Any], model: LanguageAudio) -> None:
    """Load the weights of a trained model into a fresh one of the same sizes.

    What was frozen when it was trained is not in its file, and must be in the fresh one already.

    Args:
        folder: `best` of the trained model, or a file of the public transcription.
        description: of it.
        model: the fresh one.

    Raises:
        ConfigError: the model is of other sizes, or on top of other weights; the file is another.
    """
    if folder.is_file():
        load_into(model, folder)
        return
    state, own = load_file(folder / FILES[0]), model.state_dict()
    problems = _differences(state, own)
    missing = sorted(set(own) - set(state) - _OPTIONAL)
    if missing and digest(own, missing) != description["frozen_weights"]:
        problems.append(f"{len(missing)} weights such as {missing[0]} are not in its file, and "
                        "those of this model are not what it was trained on top of")
    if problems:
        raise ConfigError(
            f"trainer.start: {folder} does not fit the model of this recipe", problems,
            "give the trainer the encoders and sizes of the model it starts from")
    model.load_state_dict({name: state[name] for name in state if name in own}, strict=False)


def own_tokeniser(folder: Path, max_tokens: int) -> Tokeniser | None:
    """Return the tokeniser that a trained model brings along; None: that of its text encoder."""
    file = folder / TOKENISER
    return SentencePieceTokeniser(file, max_tokens) if file.is_file() else None


def refuse_other_kinds(folder: Path, description: Mapping[str, Any]) -> None:
    """Raise ConfigError if a description is not of a GEmo-CLAP model."""
    if not {"prompts", "sizes", "tokeniser"} <= description.keys():
        raise ConfigError(f"{folder} holds no GEmo-CLAP model: its {DESCRIPTION} names no prompts",
                          remedy="give the folder best that GemoClapTrainer left")


def _differences(state: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """Name the tensors of a file that a model has not, or has in another shape."""
    problems = [f"{name}: {list(state[name].shape)} in the file, {list(own[name].shape)} in the "
                "model" for name in sorted(state.keys() & own.keys())
                if state[name].shape != own[name].shape]
    return problems + [f"{name}: not in the model"
                       for name in sorted(state.keys() - own.keys() - _OPTIONAL)]
