"""DistillerPretrainer: what a recipe's `pretrainer:` block builds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.distiller import DistillerBrain
from sertools.brains.distiller_files import HEADS, HUBERT, ORIGIN, write_student
from sertools.brains.distiller_parts import about, build_models, epochs_of, teacher_of
from sertools.brains.distiller_settings import WD_EXCLUDE, loop_options, refuse, schedule
from sertools.brains.distributed import Ranks
from sertools.brains.options import LoopOptions
from sertools.brains.target_pretrainer import Kind, TargetPretrainer
from sertools.brains.teacher import Teacher
from sertools.models.distilled import Distiller
from sertools.models.encoder import SpeechEncoder
from sertools.models.upstream import Upstream
from sertools.models.weights.heard import Heard, pretrained_on


class DistillerPretrainer(TargetPretrainer):
    """Distil a pretrained encoder into a shallow student (DistilHuBERT, arXiv 2110.01900).

    Defaults are those of the released code; where code and published checkpoint differ, those of
    the checkpoint.

    It leaves the student as `best/encoder`, as `best/hubert` for transformers where that can run
    it, what it predicted the layers with in `best/heads.safetensors`, and in `distilled.json` where
    it comes from.

    Args:
        teacher: a `!name:` partial of `load_upstream`, frozen; sertools must run it itself.
        teacher_layers: layers of the teacher that are predicted, or shares of its depth up to 1.
        teacher_mode: eval, or released: the teacher's dropouts act on the targets.
        teacher_precision: fp32 or bf16.
        teacher_hears: utterance (up to the audio's longest), or crop: just what the student hears.
        layers: blocks of the student.
        initialisation: teacher or random (see `models.distilled.student_of`), or file.
        source: whatever `load_encoder` takes, for `file`, such as a published DistilHuBERT.
        blocks: the teacher's blocks that the student begins with; None: the first ones.
        dim, num_heads, ffn_dim: sizes of a random student; None: the teacher's.
        dropout: of the student's frames, attention and feed-forward networks; None: the teacher's.
        targets: online (the teacher runs in every pass), or cached (by `write_caches`).
        crop: start or random.
        crop_seconds: longest crop; 15.625 s are the released 250,000 samples.
        padding: valid, or released: the loss is a mean over padding, too. What the teacher makes
            of padding is then its target if the teacher is run on crops, else zero is.
        frontend_norm: masked, or plain: group norms see the padding too, see `Distiller`.
        frontend_gradient: what the convolutions' gradient is multiplied with; 0 freezes them.
        cosine_weight: of the cosine loss beside the L1 loss.
        updates: optimizer steps, rounded up to whole epochs; None counts `epochs`.
        epochs: passes over the audio, instead of updates; 0 leaves the student as it is
            initialised.
        batch: utterances per update, over all processes and accumulated passes.
        batch_seconds: seconds of crops per process and pass; bounds the memory.
        lr: highest learning rate.
        betas, eps, weight_decay: of Adam with decoupled weight decay.
        wd: released (all but biases decay) or no_norm (neither LayerNorms nor biases do).
        warmup: share of the training with a rising rate; it then falls linearly to 0.
        clip: largest norm of the gradient; None does not clip.
        patience: epochs without a lower training loss before training ends; None: never.
        keep_epochs: epochs between encoders that are kept for learning curves; None keeps none.
        seed: of weights, data order, crops and dropout.
        checkpoint_minutes, checkpoint_steps: between checkpoints.
        log_every: optimizer steps between looks at the running loss.
        tensorboard: write TensorBoard curves.

    Raises:
        ConfigError: options that are unknown or do not fit together; all of them are listed.
    """

    kind = Kind(refuse, schedule, build_models, teacher_of, about, ORIGIN, "heads")

    def __init__(
        self,
        teacher: Callable[[], Upstream],
        teacher_layers: Sequence[float] = (4, 8, 12),
        teacher_mode: str = "eval",
        teacher_precision: str = "bf16",
        teacher_hears: str = "crop",
        layers: int = 2,
        initialisation: str = "teacher",
        source: str | None = None,
        blocks: Sequence[int] | None = None,
        dim: int | None = None,
        num_heads: int | None = None,
        ffn_dim: int | None = None,
        dropout: float | None = 0.1,
        targets: str = "online",
        crop: str = "random",
        crop_seconds: float = 15.625,
        padding: str = "valid",
        frontend_norm: str = "masked",
        frontend_gradient: float = 0.1,
        cosine_weight: float = 1.0,
        updates: int | None = 200_000,
        epochs: int | None = None,
        batch: int = 24,
        batch_seconds: float = 375.0,
        lr: float = 2e-4,
        betas: Sequence[float] = (0.9, 0.98),
        eps: float = 1e-6,
        weight_decay: float = 0.01,
        wd: str = "released",
        warmup: float = 0.07,
        clip: float | None = 5.0,
        patience: int | None = None,
        keep_epochs: int | None = None,
        seed: int = 1337,
        checkpoint_minutes: float = 10.0,
        checkpoint_steps: int | None = None,
        log_every: int = 50,
        tensorboard: bool = True,
    ):
        TargetPretrainer.__init__(self, locals())  # super() would be among the locals

    def _model(self, upstream: Upstream, encoder: SpeechEncoder, teacher: Teacher) -> Distiller:
        given = self.given
        return Distiller(encoder, upstream.dim, len(teacher.depths), given["frontend_gradient"],
                         given["frontend_norm"])

    def _options(self, batches: int, passes: int, ranks: Ranks) -> LoopOptions:
        return loop_options(self.given, epochs_of(self.given, batches, passes), passes)

    def _brain(self, *rest: Any, **more: Any) -> DistillerBrain:
        return DistillerBrain(*rest, **more)

    def _beside(self, best: Path, trained: bool) -> list[Path]:
        hubert = [best / HUBERT / name for name in ("config.json", "model.safetensors")]
        return [*(hubert if (best / HUBERT).is_dir() else []), *([best / HEADS] if trained else [])]

    def _write_untrained(self, encoder: SpeechEncoder, best: Path, heard: Heard) -> None:
        write_student(encoder, None, best, heard)

    def _spared(self) -> str:
        return WD_EXCLUDE[self.given["wd"]]

    def _heard_before(self, upstream: Upstream) -> Heard:
        """Return the corpora that teacher and start have heard, as far as is known."""
        start = self.given["source"]
        return {**super()._heard_before(upstream), **(pretrained_on(start) if start else {})}
