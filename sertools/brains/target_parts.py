"""What pretrainings of a student by a teacher share: the teacher, caches, batches, words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.brains.base import DONE
from sertools.brains.cost import write_cost
from sertools.brains.distributed import Ranks
from sertools.brains.loaders import make_loader
from sertools.brains.settings import describe, fingerprint
from sertools.brains.teacher import Teacher
from sertools.brains.work import PretrainingWork
from sertools.data.batching import BucketBatchSampler
from sertools.data.feature_cache import FeatureCache
from sertools.data.targets import TargetDataset, collate_targets, odd_crop
from sertools.errors import ConfigError
from sertools.files import publish, write_json
from sertools.models.config import EncoderConfig
from sertools.models.upstream import OwnUpstream, Upstream
from sertools.models.weights.heard import Heard, pretrained_on
from torch import nn
from torch.utils.data import DataLoader

PASSES_PER_BUCKET = 20
"""Of similar length; more buckets would leave more passes that are not full."""
SPEED_ONLY = {"checkpoint_minutes", "checkpoint_steps", "log_every", "tensorboard"}
"""Options of a pretrainer that change no result."""


def frozen_teacher(make: Callable[..., Upstream], mode: str = "eval") -> OwnUpstream:
    """Return the frozen teacher that a `!name:` partial of `load_upstream` makes.

    Args:
        make: the partial.
        mode: `eval`, or `released`: its dropouts act.

    Raises:
        ConfigError: it is not frozen, is not run by sertools, or its `frozen_mode` is given.
    """
    upstream = make() if mode == "eval" else make(frozen_mode=mode)
    if not isinstance(upstream, OwnUpstream):
        raise ConfigError(
            "teacher: only encoders that sertools runs itself can be thinned, this is a "
            f"{type(upstream).__name__}",
            remedy="take WavLM, HuBERT, wav2vec 2.0, emotion2vec or an encoder of a recipe, with "
            "implementation: auto",
        )
    if upstream.trainable or upstream.frozen_mode != mode:
        raise ConfigError("teacher: it must be frozen",
                          remedy="leave out trainable and frozen_mode")
    upstream.train()  # without effect, unless released
    return upstream


def source_of(upstream: Upstream) -> Heard:
    """Return the corpora that a teacher has heard, as far as is known."""
    source = upstream.origin.get("source")
    return pretrained_on(source) if source else {}


def target_dataset(
    given: Mapping[str, Any], work: PretrainingWork, teacher: Teacher, config: EncoderConfig,
    convolutions: Mapping[str, str] | None = None,
) -> TargetDataset:
    """Return the crops with their targets, from the caches that stage features wrote.

    Args:
        given: options of a pretrainer: targets, frontend, crop, crop_seconds, small_span.
        work: of the pretraining.
        teacher: whose frames are the targets.
        config: the student's.
        convolutions: identity of the student's, if their outputs may be cached.

    Raises:
        ConfigError: the audio's rate is wrong, or a cache is missing or of something else.
        DataError: a cache lacks utterances, or no utterance is long enough.
    """
    rate = work.dataset.reader.sample_rate
    if rate != config.sample_rate:
        raise ConfigError(
            f"pretraining_data.sample_rate is {rate}, but the encoder hears {config.sample_rate}"
        )
    caches = [FeatureCache(path.parent) for path in map(Path, work.caches)
              if path.name == "index.json"]
    convolved = [cache for cache in caches if cache.key["upstream"] == convolutions]
    heard = [cache for cache in caches
             if cache.key["upstream"] == teacher.upstream.identity
             and cache.key["layers"] == teacher.layers]
    online = given["targets"] == "online"
    missing = [name for name, found, wanted in (
        ("targets", heard, not online), ("frontend", convolved, given["frontend"] == "cached"),
    ) if wanted and not found]
    if missing:
        raise ConfigError(
            "what shall be cached is not, or is that of another teacher or student",
            [f"{name} is cached, but there is no such cache" for name in missing],
            "run stage features, or set targets: online and frontend: audio",
        )
    return TargetDataset(
        work.dataset, config.hop, config.frames, given["crop"], given["crop_seconds"], work.seed,
        cache=None if online else heard[0],
        local=convolved[0] if given["frontend"] == "cached" else None,
        online=online, small_span=given["small_span"], normalise=config.normalise_waveform,
        teacher_rate=teacher.upstream.frame_rate,
    )


def refuse_crops(
    given: Mapping[str, Any], work: PretrainingWork, config: EncoderConfig
) -> None:
    """Refuse crops that the student cannot learn from, before a teacher runs for hours.

    Raises:
        ConfigError: they are longer than what the teacher hears, or too short for a mask.
    """
    wrong = odd_crop(work.dataset, given["crop_seconds"], config.hop, config.frames,
                     given["small_span"])
    if wrong:
        raise ConfigError("student and teacher cannot be trained like this", wrong)


def target_loader(
    given: Mapping[str, Any], work: PretrainingWork, dataset: TargetDataset, items: int,
    device: str, ranks: Ranks, equal: bool = False,
) -> DataLoader:
    """Return batches of at most `items` crops of similar length on each process.

    With `equal`, all batches are padded to the length of a full crop.
    """
    passes = len(dataset) // (items * ranks.world_size)
    batches = BucketBatchSampler(
        dataset.seconds, given["batch_seconds"], True, work.seed, ranks.rank, ranks.world_size,
        buckets=max(1, passes // PASSES_PER_BUCKET), max_items=items,
    )
    collate = collate_targets
    if equal:
        collate = functools.partial(collate_targets, samples=dataset.crop_samples,
                                    frames=dataset.crop_frames)
    return make_loader(dataset, batches, work, device, collate_fn=collate)


def about_teacher(upstream: Upstream, teacher: Teacher) -> dict[str, Any]:
    """Return what is known of a teacher, for the file that says where a student comes from."""
    return {
        **upstream.origin, "identity": upstream.identity, "layers": upstream.num_layers,
        "dim": upstream.dim, "targets": teacher.layers,
        "parameters": parameters_of(upstream)["total"],
    }


def told(
    work: PretrainingWork, dataset: TargetDataset, origin: Mapping[str, Any], batches: int,
    epochs: int, passes: int, items: Sequence[int], helpers: str = "predictors",
) -> list[str]:
    """Say what will be trained, on what and for how long.

    Args:
        work: of the pretraining.
        dataset: what it hears.
        origin: of the student, with its size and that of what is trained, `with_<helpers>`.
        batches: passes per epoch and process.
        passes: of them per update.
        items: utterances per pass, and processes.
        helpers: what the student is trained with and leaves behind.
    """
    left_out = len(dataset.too_short) + sum(
        sum(counts.values()) for reason, counts in work.summary.get("left_out", {}).items()
        if reason.startswith("shorter"))
    hours = sum(dataset.seconds) / 3600
    student, teacher = origin["student"], origin["teacher"]
    model, updates = student[f"with_{helpers}"], -(-batches // passes)
    crops, processes = items
    return [
        f"{len(dataset)} utterances, {hours:.2f} h of crops; {left_out} left out as too short",
        f"student: {student['layers']} of {teacher['layers']} blocks, {student['parameters']:,} "
        f"parameters ({teacher['parameters']:,} of the teacher); {model['total']:,} with the "
        f"{helpers}, {model['trainable']:,} of them trained",
        f"{epochs} epochs of {updates} updates; {passes} passes of {crops} utterances on each of "
        f"{processes} processes make an update",
    ]


def parameters_of(model: nn.Module) -> dict[str, int]:
    """Return the number of parameters, and of those that are trained."""
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    return {"total": sum(size for size, _ in sizes),
            "trainable": sum(size for size, trained in sizes if trained)}


def files_of(caches: Iterable[Path]) -> list[Path]:
    """Return index files and shards of caches."""
    return [path for cache in caches
            for path in (cache / "index.json", *sorted(cache.glob("*.safetensors")))]


def setup_of(
    given: Mapping[str, Any], ids: Sequence[str], origin: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what must not change between a checkpoint and its resumption."""
    settings = {k: describe(v) for k, v in given.items() if k not in SPEED_ONLY}
    return {**settings, "utterances": fingerprint(ids),
            "teacher_weights": origin["teacher"]["identity"]["weights"]}


def leave_untrained(
    work: PretrainingWork, total: int, write: Callable[[Path], None]
) -> None:
    """Leave a student of `total` parameters as it is initialised; `write` fills `best`."""
    folder = Path(work.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with publish(folder / "best") as best:
        best.mkdir()
        write(best)
    write_cost(folder, total, 0, 0.0, "cpu")
    write_json(folder / DONE, {"epoch": 0, "step": 0, "best_score": None, "best_epoch": 0,
                               "select": "loss"})
    work.say("epochs is 0: the student is left as it is initialised")
