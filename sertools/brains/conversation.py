"""ConversationTrainer: the emotion of the next turn, predicted from the turns before it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.best import read_description
from sertools.brains.conversation_contexts import GAPS, ContextInputs, contexts_of
from sertools.brains.conversation_texts import SETTINGS, ConversationBrain, TurnTexts
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.downstream import DownstreamTrainer
from sertools.brains.options import Cycle
from sertools.brains.work import FoldWork
from sertools.errors import ConfigError, DataError
from sertools.models.conversation import NextTurnHead
from sertools.models.text import TextEncoder
from sertools.scoring.predictions import Prediction
from torch import nn

MODALITIES = ("speech", "text", "speech_text")
OWN = ("context_turns", "hidden", "layers", "dropout", "gaps", "modality", "projection", *SETTINGS)
"""The options that `DownstreamTrainer` does not have."""
OF_TEXT = ("modality", "projection", *SETTINGS)
"""Those of them that mean nothing where only speech is heard."""


class ConversationTrainer(DownstreamTrainer):
    """Predict the class of a turn that is neither heard nor read, from the turns before it.

    Emotion prediction in conversation as in emotion2vec (Ma et al. 2023, arXiv 2312.15185,
    table 6): a recurrent network over the utterance embeddings of the previous turns. That of
    speech is the mean over time of the last cached layer of a frozen upstream. That of text, and
    how it joins speech, are our choice, since the paper's are not known: the mean over the tokens
    of a frozen text encoder; each embedding is projected, and the two are one turn. Turns of all
    speakers are context, in the order of their dialogue and never of another one. Turns without
    a class are context, but no targets; neither are first turns, before which nothing was said.
    Both are counted and told. Labels of the context are never used.

    Args:
        context_turns: turns to go back; at the beginning of a dialogue, as many as there are.
        hidden: width of the recurrent network.
        layers: its depth.
        dropout: share dropped between its layers and before the output, in training.
        gaps: refuse or close, see `contexts_of`.
        modality: what is known of a turn before: speech, text or speech_text.
        projection: width to which speech and text are each projected; speech alone is not.
        text: a `!name:` partial of `load_text` with its source; it is frozen.
        max_tokens: longest text in tokens; the rest is cut off and told.
        transcripts: corpus, or a recogniser's file, see `Transcripts`; it may have lines of
            utterances that are left out here.
        transcripts_model: name of the recogniser; needed with a file.
        transcripts_missing: let turns of which the file knows nothing go without text.
        class_weights: balanced (n / (K n_class) of the training part) or None.
        label_smoothing: share of the target spread over all classes, 0 to 1.
        epochs: passes over the training part, at most.
        max_batch: turns to predict per batch; drawn at random.
        accumulation: batches per optimizer step.
        lr: learning rate.
        weight_decay: of matrices; vectors do not decay.
        optimizer: adamw, sgd (with Nesterov momentum) or rmsprop.
        momentum: of sgd and rmsprop; None: 0.9.
        schedule: cosine, linear or constant learning rate after the warm-up; or cyclic.
        cycle: for schedule cyclic, how far and how fast the learning rate swings.
        warmup: share of the training with a rising learning rate, 0 to 1.
        floor: share of the learning rate at the end of cosine and linear.
        clip: largest norm of the gradient; None does not clip.
        patience: epochs without a better dev score before the end; None trains all epochs.
        select: dev score that chooses the best epoch: UA, WA, WF1, MF1 or loss; None: UA.
        checkpoint_minutes: minutes between checkpoints.
        checkpoint_steps: optimizer steps between checkpoints, in addition; None for none.
        nonfinite_patience: steps per epoch that may be skipped for NaN or infinity.
        log_every: optimizer steps between looks at the running loss.
        tensorboard: write TensorBoard curves.

    Raises:
        ConfigError: options that are unknown or do not fit together.
    """

    def __init__(
        self,
        context_turns: int = 6,
        hidden: int = 256,
        layers: int = 2,
        dropout: float = 0.0,
        gaps: str = "refuse",
        modality: str = "speech",
        projection: int = 256,
        text: Callable[..., TextEncoder] | None = None,
        max_tokens: int = 128,
        transcripts: str = "corpus",
        transcripts_model: str | None = None,
        transcripts_missing: bool = False,
        class_weights: str | None = None,
        label_smoothing: float = 0.0,
        epochs: int = 100,
        max_batch: int = 128,
        accumulation: int = 1,
        lr: float = 5e-4,
        weight_decay: float = 0.0,
        optimizer: str = "adamw",
        momentum: float | None = None,
        schedule: str = "cosine",
        cycle: Cycle | None = None,
        warmup: float = 0.0,
        floor: float = 0.0,
        clip: float | None = 5.0,
        patience: int | None = None,
        select: str | None = None,
        checkpoint_minutes: float = 10.0,
        checkpoint_steps: int | None = None,
        nonfinite_patience: int = 3,
        log_every: int = 50,
        tensorboard: bool = True,
    ):
        given = {name: value for name, value in locals().items()
                 if name not in ("self", "__class__")}
        own = {name: given.pop(name) for name in OWN}
        _check(own)
        self.hears, self.reads = modality != "text", modality != "speech"
        head = {"hidden": hidden, "layers": layers, "dropout": dropout}
        if self.reads:
            head["projection"] = projection
        super().__init__(
            inputs="features",
            head=functools.partial(NextTurnHead, **head),
            batch_seconds=float("inf"),
            **given,
        )
        self.given |= own

    def fit(self, work: FoldWork) -> None:
        """Train from wherever an earlier call stopped; leave `best/` and metrics.jsonl.

        Raises:
            Interrupted: a stop was asked for; everything is saved.
            Diverged: too many steps were not finite.
            ConfigError: a checkpoint was written with other settings, or there are no features.
            DataError: utterances without a place in a dialogue, without features, or a part of
                the fold in which no turn can be predicted.
        """
        again = all(path.is_file() for path in self.artefacts(work))
        say = None if again else work.say
        super().fit(dataclasses.replace(
            work, train=self._targets(work, work.train, "train", say),
            dev=self._targets(work, work.dev, "dev", say) if work.dev else [],
            features=work.features if self.hears else None,
        ))

    def predict(self, work: FoldWork, ids: Sequence[str]) -> list[Prediction]:
        """Return predictions of those of `ids` that have a class and turns before them.

        They are sorted by id; on other ranks than 0 there are none.

        Raises:
            DataError: nothing was trained yet, or no turn can be predicted.
            Interrupted: a stop was asked for.
        """
        return super().predict(work, self._targets(work, ids, "predicted", work.say))

    def _inputs(self, work: FoldWork, ranks: Ranks) -> ContextInputs:
        contexts, texts = self._contexts(work), None
        if self.reads:
            turns = sorted({before for context in contexts.values() for before in context})
            texts = TurnTexts(work, self.given, turns, resolve_device(work.device))
        return ContextInputs(work, self.given["head"], ranks, contexts, self.hears, texts)

    def _brain(self, inputs: ContextInputs) -> Callable[..., ConversationBrain]:
        return functools.partial(ConversationBrain, texts=inputs.texts)

    def _setup(self, work: FoldWork, inputs: Any = None) -> dict[str, Any]:
        setup = super()._setup(work)
        if self.reads:
            return {**setup, **inputs.texts.identity}
        return {name: value for name, value in setup.items() if name not in OF_TEXT}

    def _trained(self, work: FoldWork, task: Any, inputs: ContextInputs) -> nn.Module:
        best = Path(work.folder) / "best"
        then = read_description(best).get("text_encoder")
        now = inputs.texts and inputs.texts.encoder
        if _weights(then) != _weights(now):
            raise ConfigError(
                f"{best} was trained with another text encoder",
                [f"{then and then['source']} then, {now and now['source']} now"],
                "use the same text encoder, or run stage train again")
        return super()._trained(work, task, inputs)

    def _contexts(self, work: FoldWork) -> dict[str, list[str]]:
        return contexts_of(work.manifest, self.given["context_turns"], self.given["gaps"])

    def _targets(self, work: FoldWork, ids: Sequence[str], part: str, say) -> list[str]:
        """Return the turns that can be predicted, and say how many cannot."""
        contexts = self._contexts(work)
        labelled = [id for id in ids if work.manifest[id].label is not None]
        usable = [id for id in labelled if contexts[id]]
        if say is not None and work.rank == 0:
            say(f"{part}: {len(usable)} turns to predict; no targets: {len(ids) - len(labelled)} "
                f"without a class, {len(labelled) - len(usable)} that open their dialogue")
        if not usable:
            raise DataError(f"{part}: none of {len(ids)} turns has a class and a turn before it",
                            remedy="look at corpus.label_map and at the tags of the manifest")
        return usable


def _weights(encoder: dict[str, Any] | None) -> tuple | None:
    """Return what must be the same in a text encoder."""
    return encoder and tuple(encoder[name] for name in ("weights", "config", "tokens"))


def _check(own: dict) -> None:
    problems = [f"{name} is {own[name]!r}: give a whole number, 1 or more"
                for name in ("context_turns", "hidden", "layers", "projection", "max_tokens")
                if not (isinstance(own[name], int) and own[name] >= 1)]
    if own["modality"] not in MODALITIES:
        problems.append(f"modality is {own['modality']!r}: use {', '.join(MODALITIES)}")
    elif own["modality"] != "speech" and "source" not in getattr(own["text"], "keywords", {}):
        problems.append(f"text is {own['text']!r}: modality {own['modality']} needs a `!name:` of "
                        "load_text with its source, since a text encoder that stays frozen must be "
                        "pretrained")
    if not 0 <= own["dropout"] < 1:
        problems.append(f"dropout is {own['dropout']}: give 0 or more, less than 1")
    if own["gaps"] not in GAPS:
        problems.append(f"gaps is {own['gaps']!r}: use {' or '.join(GAPS)}")
    if problems:
        raise ConfigError("the options of the conversation are not sound", problems)
