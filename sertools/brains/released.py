"""ReleasedTrainer: a published classifier as it is, on the classes of a corpus."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from sertools.brains.cost import encoder_size, write_cost
from sertools.brains.distributed import Ranks, resolve_device
from sertools.brains.loaders import forward_all, make_loader
from sertools.brains.tasks import Classification
from sertools.brains.work import FoldWork
from sertools.data.audio import AudioReader
from sertools.data.batching import BucketBatchSampler
from sertools.data.dataset import AudioDataset
from sertools.errors import ConfigError, DataError
from sertools.files import read_json, sha256, write_json
from sertools.models.weights.checkpoint import read
from sertools.models.weights.emotion2vec import load_classifier
from sertools.scoring.predictions import Prediction
from torch import Tensor

BEST, DONE = "best/best.json", "training.json"
UNUSED = "unuse"
"""Beginning of the labels whose outputs mean nothing; as in the released code they never win."""


class ReleasedTrainer:
    """Score a corpus with a fine-tuned emotion2vec (emotion2vec+), without any training.

    The outputs that `labels` leads to a class of the corpus compete, all others are left out: the
    probability of a class is the sum of the softmax over its labels, divided by that of all
    classes. Published models were fine-tuned on the training parts of many corpora: results on
    those are not zero-shot.

    Args:
        source: what `models.weights.emotion2vec.load_classifier` takes, such as
            "emotion2vec/emotion2vec_plus_large", a folder or a file.
        labels: label of the classifier -> class. Labels that are not named, lead to no class of
            the corpus, or begin with "unuse", are left out.
        batch_seconds: seconds of audio per batch.

    Raises:
        ConfigError: in `fit` and `predict`, where `source` cannot be loaded, `labels` names labels
            that it does not have, or a class of the corpus has no label.
    """

    def __init__(self, source: str, labels: Mapping[str, str], batch_seconds: float = 60.0):
        self.source, self.labels, self.batch_seconds = source, dict(labels), batch_seconds

    def fit(self, work: FoldWork) -> None:
        """Leave a note of which classifier is meant; there is nothing to train."""
        if work.rank != 0 or all(path.is_file() for path in self.artefacts(work)):
            return
        classifier, labels = load_classifier(self.source)
        class_matrix(labels, self.labels, work.classes)
        path = read(self.source).path
        about = {
            **Classification(work.classes).describe(),
            "source": self.source,
            "outputs": labels,
            "labels": self.labels,
            "sha256": _hash(path, path.stat().st_size, path.stat().st_mtime_ns),
        }
        total = sum(parameter.numel() for parameter in classifier.parameters())
        write_json(Path(work.folder) / BEST, about)
        write_cost(work.folder, total, 0, 0.0, "cpu", encoder=encoder_size(classifier))
        write_json(Path(work.folder) / DONE, {"trained": False})

    def predict(self, work: FoldWork, ids: Sequence[str]) -> list[Prediction]:
        """Return predictions, sorted by id; on other ranks than 0 none.

        Raises:
            DataError: `fit` was not called, or an utterance cannot be used.
            ConfigError: the classifier is another one than then.
            Interrupted: a stop was asked for.
        """
        device = resolve_device(work.device)
        ranks = Ranks.start(device, work.rank, work.world_size)
        task, ids = Classification(work.classes), sorted(ids)
        task.targets(work.manifest, ids)
        if not ids:
            return []
        self._check(work)
        classifier, labels = load_classifier(self.source)
        matrix = class_matrix(labels, self.labels, work.classes)
        reader = AudioReader(classifier.encoder.config.sample_rate, normalise=False)
        dataset = AudioDataset(work.manifest, ids, work.data_folder, reader, None, work.seed)
        batches = BucketBatchSampler(
            dataset.seconds, self.batch_seconds, False, work.seed, ranks.rank, ranks.world_size
        )
        found, outputs = forward_all(
            classifier.to(device), make_loader(dataset, batches, work, device), device,
            work.precision, ranks, work.should_stop,
        )  # fmt: skip
        if not ranks.main:
            return []
        return task.predictions(work.manifest, found, class_scores(outputs.cpu(), matrix))

    def artefacts(self, work: FoldWork) -> list[Path]:
        """Return the files whose presence means that the note is complete."""
        return [Path(work.folder) / BEST, Path(work.folder) / DONE]

    def _check(self, work: FoldWork) -> None:
        note = Path(work.folder) / BEST
        if not note.is_file():
            raise DataError(f"{note} is missing", remedy="run stage train")
        path = read(self.source).path
        known = _hash(path, path.stat().st_size, path.stat().st_mtime_ns)
        if read_json(note)["sha256"] != known:
            raise ConfigError(
                f"{path} is another file than stage train found.",
                remedy=f"delete {note.parent.parent} and run stage train again",
            )


def class_matrix(
    outputs: Sequence[str], labels: Mapping[str, str], classes: Sequence[str]
) -> Tensor:
    """Return bool (K, N): which of the N outputs of a classifier stand for which of K classes.

    Raises:
        ConfigError: `labels` names no output, or a class would have none.
    """
    problems = [f"labels: {label!r} is no output of the classifier ({', '.join(outputs)})"
                for label in labels if label not in outputs]  # fmt: skip
    used = [None if label.startswith(UNUSED) else labels.get(label) for label in outputs]
    problems += [f"class {name!r} has no label: no prediction could ever be it"
                 for name in classes if name not in used]  # fmt: skip
    if problems:
        raise ConfigError(
            "The classifier's labels do not fit the classes of the corpus.",
            problems,
            "mend `labels` of the trainer, or the classes of the corpus block",
        )
    return torch.tensor([[name == label for label in used] for name in classes])


def class_scores(outputs: Tensor, matrix: Tensor) -> Tensor:
    """Return log-scores (n, K) of classes from outputs (n, N): log-sum-exp over their labels."""
    return outputs[:, None].masked_fill(~matrix, float("-inf")).logsumexp(-1)


@functools.lru_cache(maxsize=4)
def _hash(path: Path, size: int, changed: int) -> str:
    """Return the SHA-256 of a file, computed once per version and process."""
    return sha256(path)
