"""A made-up corpus of tones and what trains on it in a second; also run by other processes."""

import contextlib
import functools
import math
import os
import signal
import sys
from pathlib import Path

import sertools  # noqa: F401
import soundfile
import torch
from sertools.brains.checkpoints import AtomicCheckpointer
from sertools.brains.distributed import Ranks
from sertools.brains.downstream import DownstreamTrainer
from sertools.brains.downstream_brain import DownstreamBrain
from sertools.brains.work import FoldWork
from sertools.data.record import Record
from sertools.errors import Interrupted, UserError
from sertools.models.heads import UtteranceHead
from sertools.models.presets import build_encoder
from sertools.scoring.predictions import write_predictions

CLASSES = ["high", "low"]
TINY = {"dim": 16, "num_layers": 1, "num_heads": 2, "ffn_dim": 32, "num_mels": 8,
        "position_kernel": 3, "dropout": 0.2}


def make_corpus(folder: Path, count: int = 26) -> dict[str, Record]:
    """Write short tones in noise and return their records; the label is the pitch."""
    draw = torch.Generator().manual_seed(7)
    manifest = {}
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        seconds = 0.1 + 0.01 * (number * 7 % 13)
        time = torch.arange(round(seconds * 16000)) / 16000
        label = CLASSES[number % 2]
        tone = torch.sin(2 * math.pi * (900.0 if label == "high" else 300.0) * time)
        wave = 0.1 * tone + 0.05 * torch.randn(len(time), generator=draw)
        soundfile.write(folder / f"u{number:02d}.wav", wave.numpy(), 16000, subtype="FLOAT")
        manifest[f"toy-u{number:02d}"] = Record(
            id=f"toy-u{number:02d}", path=f"u{number:02d}.wav", label=label,
            speaker=f"s{number % 5}", arousal=1.0 + number % 5, valence=5.0 - number % 3,
            duration=seconds, audio_hash=f"{number:032x}",
        )
    return manifest


def make_work(root: Path, folder: Path, **changes) -> FoldWork:
    """Return one unit over the corpus in root/audio: 16 utterances train, 5 dev, 5 test."""
    manifest = make_corpus(root / "audio")
    ids = sorted(manifest)
    values = {
        "manifest": manifest, "train": ids[:16], "dev": ids[16:21], "classes": CLASSES,
        "data_folder": root / "audio", "features": None, "folder": folder, "seed": 3,
        "device": "cpu", "precision": "fp32", "num_workers": 0, "should_stop": lambda: False,
        "say": lambda text: None,
    }
    return FoldWork(**{**values, **changes})


def audio_trainer(**changes) -> DownstreamTrainer:
    """Return a trainer of a tiny encoder with dropout, on audio."""
    values = {
        "inputs": "audio", "encoder": functools.partial(build_encoder, **TINY),
        "head": functools.partial(UtteranceHead, projection=8, dropout=0.2), "epochs": 3,
        "batch_seconds": 0.5, "accumulation": 2, "lr": 3e-3, "tensorboard": False,
    }
    return DownstreamTrainer(**{**values, **changes})


def feature_trainer(**changes) -> DownstreamTrainer:
    """Return a trainer of a head with dropout, on cached features."""
    values = {
        "inputs": "features", "head": functools.partial(UtteranceHead, projection=8, dropout=0.2),
        "epochs": 3, "batch_seconds": 0.5, "accumulation": 2, "lr": 1e-2, "tensorboard": False,
    }
    return DownstreamTrainer(**{**values, **changes})


def make_features(root: Path) -> Path:
    """Write the cache of a tiny random frozen encoder and return its folder."""
    from sertools.data.audio import AudioReader
    from sertools.data.feature_writer import write_features
    from sertools.models.upstream import OwnUpstream

    torch.manual_seed(0)
    upstream = OwnUpstream(build_encoder(**TINY))
    return write_features(
        upstream, make_corpus(root / "audio"), root / "audio", AudioReader(normalise=False),
        root / "features", device="cpu", say=lambda text: None,
    )


def stop_after(polls: int):
    """Return a should_stop that says yes from the given poll on."""
    count = iter(range(polls))
    return lambda: next(count, None) is None


def train_in_pieces(trainer_of, work_of, polls) -> int:
    """Train with an interruption after each number of polls; return how many there were."""
    stops = 0
    for number in polls:
        try:
            trainer_of().fit(work_of(should_stop=stop_after(number)))
        except Interrupted:
            stops += 1
    trainer_of().fit(work_of())
    return stops


def plain_trainer(**changes) -> DownstreamTrainer:
    """Return a trainer without anything random whose step takes all utterances at once."""
    still = {"encoder": functools.partial(build_encoder, **{**TINY, "dropout": 0.0}),
             "head": functools.partial(UtteranceHead, projection=8), "optimizer": "sgd",
             "batch_seconds": math.inf, "accumulation": 1, "lr": 0.1, "epochs": 2}
    return audio_trainer(**{**still, **changes})


TRAINERS = {
    "audio": audio_trainer, "features": feature_trainer, "plain": plain_trainer,
    "thaw": functools.partial(audio_trainer, freeze_frontend=1, epochs=2),
}


@contextlib.contextmanager
def watch(ranks_seen: list):
    """Note the generator's state and the weights after every step."""

    def after_step(brain):
        weights = torch.cat([p.detach().flatten() for p in brain.raw_model.parameters()])
        ranks_seen.append((brain.progress.step, torch.get_rng_state().tolist(), weights.tolist()))
        marker = os.environ.get("TOY_KILL")
        if marker and brain.ranks.rank == 1 and brain.progress.step == 5:
            if not Path(marker).exists():
                Path(marker).touch()
                os.kill(os.getpid(), signal.SIGKILL)

    before, DownstreamBrain.after_step = DownstreamBrain.after_step, after_step
    yield
    DownstreamBrain.after_step = before


class FailsOnRank1:
    """A state that only rank 1 cannot write."""

    def save(self, path):
        if Ranks().rank == 1:
            raise OSError("disk full on rank 1")
        path.write_text("fine")


class NotFinite:
    """A state that rank 0 must not write."""

    def state_dict(self):
        return {"weight": torch.tensor(float("nan"))}


def fail(folder: Path) -> None:
    """Let a checkpoint fail on one rank, then on the other: both must stop, nothing may stay."""
    for number, obj in enumerate((FailsOnRank1(), NotFinite())):
        checkpointer = AtomicCheckpointer(folder / str(number), Ranks(), say=lambda text: None)
        if number == 0:
            checkpointer.add_per_rank("state", obj)
        else:
            checkpointer.add_recoverable("model", obj)
        try:
            checkpointer.save_checkpoint()
        except (OSError, UserError) as error:
            said = Ranks().gather(f"{type(error).__name__}: {error}")
        else:
            raise AssertionError("the failure was lost")
        assert list((folder / str(number)).iterdir()) == []
        assert checkpointer.recover_if_possible() is None
        (folder / f"{number}.rank{Ranks().rank}.txt").write_text("\n".join(said))


def run(root: Path, folder: Path, kind: str, world_size: int, polls: int | None) -> None:
    """Train one unit and predict; with `polls` it is stopped once on the way."""
    rank = int(os.environ.get("RANK", "0"))
    features = next((root / "features").iterdir()) if kind == "features" else None
    work = make_work(root, folder, features=features, rank=rank, world_size=world_size)
    if polls is not None and rank == 1:  # the signal reaches one rank only
        work.should_stop = stop_after(polls)
    trainer = TRAINERS[kind](checkpoint_steps=1 if polls is None else None)
    if polls is not None:
        try:
            trainer.fit(work)
        except Interrupted:
            work.should_stop = lambda: False
        else:
            raise AssertionError("not stopped")
    trainer.fit(work)
    predictions = trainer.predict(work, sorted(work.manifest))
    if rank == 0:
        write_predictions(folder / "predictions.jsonl", predictions)
    else:
        assert predictions == []


def main(root: Path, folder: Path, kind: str, world_size: int) -> None:
    """Train in a process of its own, one of `world_size`; compare the ranks after every step."""
    seen: list = []
    with watch(seen):
        if kind == "ranks":
            run(root, folder / "whole", "audio", world_size, None)
            run(root, folder / "pieces", "audio", world_size, 6)
            run(root, folder / "plain", "plain", world_size, None)
            run(root, folder / "thaw", "thaw", world_size, None)
            fail(folder / "fail")
        else:
            run(root, folder, kind, world_size, None)
    everyone = Ranks().gather(seen)
    assert len(everyone) == world_size
    for steps in zip(*everyone, strict=True):
        numbers, generators, weights = zip(*steps, strict=True)
        assert len(set(numbers)) == 1
        assert all(weight == weights[0] for weight in weights), "ranks have other weights"
        assert world_size == 1 or generators[0] != generators[1], "ranks draw the same dropout"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
