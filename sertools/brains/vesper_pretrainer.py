"""VesperPretrainer: what a recipe's `pretrainer:` block builds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.distributed import Ranks
from sertools.brains.options import LoopOptions
from sertools.brains.target_parts import refuse_crops
from sertools.brains.target_pretrainer import Kind, TargetPretrainer
from sertools.brains.teacher import Teacher
from sertools.brains.vesper import SHARES, VesperBrain
from sertools.brains.vesper_files import OFFICIAL, ORIGIN, shares_of, write_student
from sertools.brains.vesper_parts import about, build_models, teacher_of
from sertools.brains.vesper_settings import loop_options, mask_rule, refuse, schedule
from sertools.brains.work import PretrainingWork
from sertools.data.targets import convolutions_of, write_convolutions
from sertools.models.encoder import SpeechEncoder
from sertools.models.upstream import Upstream
from sertools.models.vesper import TERMS, Vesper
from sertools.models.weights.heard import Heard


class VesperPretrainer(TargetPretrainer):
    """Thin a pretrained encoder and pretrain it further on emotional speech (arXiv 2307.10757).

    Defaults are those of the released code where its README and its configuration agree, else
    those of the README.

    It leaves the student as `best/encoder`, as `best/vesper.pt` in the authors' layout where that
    can hold it, and in `vesper.json` where it comes from.

    Args:
        teacher: a `!name:` partial of `load_upstream`, frozen; sertools must run it itself.
        layers: blocks of the student.
        initialisation: how its blocks come from the teacher's, see `models.thinning.thin`.
        blocks: for custom_extract and custom_average, which of the teacher's blocks.
        dim, num_heads, ffn_dim: sizes of a random student; None: the teacher's.
        teacher_layers: depths of the teacher whose frames are the lower and the upper target, as
            shares of its depth up to 1, or as layers.
        targets: cached (by `write_caches`) or online (the teacher runs in every pass).
        frontend: audio, or cached outputs of the frozen convolutions.
        crop: start or random.
        crop_seconds: longest crop that the student hears.
        padding: fixed, or released (padding is normalised over and counts in the cross loss).
        mask, mask_budget, small_span, small_spans, large_span, large_spans, mask_share, high, low:
            see `objectives.emotion_masking.MaskRule`.
        acoustic_weight, semantic_weight, cross_weight: of the losses; 0 removes the predictor.
        epochs: passes over the audio, at most; 0 leaves the student as it is initialised.
        batch: utterances per update, over all processes and accumulated passes.
        batch_seconds: seconds of crops per process and pass; bounds the memory.
        lr: highest learning rate; one rate per epoch.
        betas, eps, weight_decay: of Adam with decoupled weight decay, on every parameter.
        warmup: share of the epochs with a rising rate; a cosine follows.
        floor: share of the rate in the epoch after the last.
        clip: largest norm of the gradient; None does not clip.
        patience: epochs without a lower training loss before training ends; None: never.
        keep_epochs: epochs between encoders that are kept for learning curves; None keeps none.
        seed: of weights, data order, crops, masks and dropout.
        checkpoint_minutes, checkpoint_steps: between checkpoints.
        log_every: optimizer steps between looks at the running loss.
        tensorboard: write TensorBoard curves.

    Raises:
        ConfigError: options that are unknown or do not fit together; all of them are listed.
    """

    kind = Kind(refuse, schedule, build_models, teacher_of, about, ORIGIN, "predictors")

    def __init__(
        self,
        teacher: Callable[[], Upstream],
        layers: int = 12,
        initialisation: str = "uniform_extract",
        blocks: Sequence[Any] | None = None,
        dim: int | None = None,
        num_heads: int | None = None,
        ffn_dim: int | None = None,
        teacher_layers: Sequence[float] = (0.5, 1.0),
        targets: str = "cached",
        frontend: str = "audio",
        crop: str = "start",
        crop_seconds: float = 5.0,
        padding: str = "fixed",
        mask: str = "emotion_guided",
        mask_budget: str = "released",
        small_span: int = 8,
        small_spans: int = 20,
        large_span: int = 40,
        large_spans: int = 4,
        mask_share: float = 0.64,
        high: Sequence[float] = (0.5, 1.0),
        low: Sequence[float] = (0.2, 0.49),
        acoustic_weight: float = 1.0,
        semantic_weight: float = 0.1,
        cross_weight: float = 1.0,
        epochs: int = 100,
        batch: int = 32,
        batch_seconds: float = 160.0,
        lr: float = 5e-4,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        warmup: float = 0.05,
        floor: float = 0.01,
        clip: float | None = None,
        patience: int | None = 15,
        keep_epochs: int | None = None,
        seed: int = 123,
        checkpoint_minutes: float = 10.0,
        checkpoint_steps: int | None = None,
        log_every: int = 50,
        tensorboard: bool = True,
    ):
        TargetPretrainer.__init__(self, locals())  # super() would be among the locals

    def _model(self, upstream: Upstream, encoder: SpeechEncoder, teacher: Teacher) -> Vesper:
        weights = {name: self.given[f"{name}_weight"] for name in TERMS}
        return Vesper(encoder, upstream.dim, weights)

    def _options(self, batches: int, passes: int, ranks: Ranks) -> LoopOptions:
        return loop_options(self.given, passes, ranks.together)

    def _brain(self, *rest: Any, **more: Any) -> VesperBrain:
        return VesperBrain(*rest, rule=mask_rule(self.given), **more)

    def _beside(self, best: Path, trained: bool) -> list[Path]:
        return [path for path in (best / OFFICIAL,) if path.is_file()]

    def _write_untrained(self, encoder: SpeechEncoder, best: Path, heard: Heard) -> None:
        write_student(encoder, {}, best, heard)

    def _refuse_work(self, work: PretrainingWork, encoder: SpeechEncoder) -> None:
        refuse_crops(self.given, work, encoder.config)

    def _more_caches(
        self, encoder: SpeechEncoder, work: PretrainingWork, folder: Path, options: dict[str, Any]
    ) -> list[Path]:
        given = self.given
        if given["frontend"] != "cached":
            return []
        return [write_convolutions(
            encoder, work.dataset, folder, given["crop"], given["crop_seconds"],
            self._equal_crops(), work.precision, **options)]

    def _convolutions(self, encoder: SpeechEncoder) -> Mapping[str, str] | None:
        if self.given["frontend"] != "cached":
            return None
        crop = self.given["crop_seconds"]
        return convolutions_of(encoder, crop, self._equal_crops()).identity

    def _equal_crops(self) -> bool:
        return self.given["padding"] == "released"

    def _learned(self, origin: dict[str, Any], best: Mapping[str, Any]) -> dict[str, Any]:
        return {**origin, "masks": {**origin["masks"], **shares_of(best, SHARES)}}
