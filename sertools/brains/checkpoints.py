"""Checkpoints that survive being killed: written beside, sealed, renamed, verified before use."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from sertools.brains import sealed
from sertools.brains.distributed import Ranks
from sertools.brains.weights import refuse_non_finite
from sertools.errors import ConfigError
from sertools.files import publish
from speechbrain.utils.checkpoints import (
    CKPT_PREFIX,
    DEFAULT_SAVE_HOOKS,
    METAFNAME,
    Checkpoint,
    Checkpointer,
    get_default_hook,
)
from speechbrain.utils.distributed import MainProcessContext

SETUP = "setup"


class AtomicCheckpointer(Checkpointer):
    """SpeechBrain's Checkpointer with a publish that cannot be half done.

    What differs:

    * A checkpoint is written into a hidden folder, sealed with the SHA-256 of every file, flushed
      and renamed. A folder without a valid seal is passed over with a warning.
    * Every file is compared with the seal before anything is loaded. If the newest checkpoint is
      damaged, the one before it is taken; the damaged one is renamed to `damaged-...`.
    * At least two are kept, because the newest may turn out to be damaged.
    * NaN or infinite weights and optimizer states are refused.
    * `meta` may hold numpy and torch scalars; plain numbers are written.
    * Rank 0 writes; every rank adds the states registered with `add_per_rank`. A failure on one
      rank is raised on all.
    * The setup (ranks, batch sizes, settings) is compared before loading.

    Objects with `state_dict` are saved with torch.save and loaded with `weights_only=True`; those
    whose state is plain can be saved as JSON with `add_json`.

    Args:
        folder: where the checkpoints lie.
        ranks: the processes of this training.
        setup: what must be equal when a checkpoint is loaded; plain values.
        keep: how many of the newest to keep, 2 or more.
        say: prints a warning for the user.
    """

    def __init__(
        self,
        folder: str | Path,
        ranks: Ranks,
        setup: Mapping[str, Any] | None = None,
        keep: int = 2,
        say: Callable[[str], None] = print,
    ):
        _refuse_few(keep)
        super().__init__(folder)
        self.ranks, self.setup, self.keep, self.say = ranks, as_plain(setup or {}), keep, say
        self._per_rank: dict[str, Any] = {}
        self._warned: set[Path] = set()
        if ranks.main:
            for leftover in self.checkpoints_dir.glob(".tmp-*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def add_json(self, name: str, obj: Any) -> None:
        """Register an object whose `state_dict` is made of plain values."""
        self.add_recoverable(name, obj, _load_json, _save_json)

    def add_per_rank(self, name: str, obj: Any) -> None:
        """Register an object with `save(path)` and `load(path)` that differs between ranks."""
        self._per_rank[name] = obj

    def add_recoverable(
        self, name, obj, custom_load_hook=None, custom_save_hook=None, optional_load=False
    ):
        """Register an object; without hooks of its own it is saved by its `state_dict`."""
        if custom_save_hook is None and hasattr(obj, "state_dict"):
            custom_load_hook, custom_save_hook = _load_state, _save_state
        super().add_recoverable(name, obj, custom_load_hook, custom_save_hook, optional_load)

    def save_checkpoint(self, meta=None, end_of_epoch=True, name=None, verbosity=logging.INFO):
        """Publish a checkpoint; call it on all ranks.

        Returns:
            the checkpoint on rank 0, None elsewhere.

        Raises:
            NonFiniteWeights: a state holds NaN or infinity; nothing was published.
            UserError: another rank failed; nothing was published.
        """
        target = self.ranks.share(self._next_path(name) if self.ranks.main else None)
        temporary = target.with_name(f".tmp-{target.name}")
        main = self.ranks.main
        try:
            self.ranks.attempt((lambda: temporary.mkdir()) if main else None)
            self.ranks.attempt(lambda: self._write(temporary, meta or {}, end_of_epoch))
            self.ranks.attempt((lambda: _finish(temporary, target)) if main else None)
        finally:
            if main:
                shutil.rmtree(temporary, ignore_errors=True)
        return self._construct_checkpoint_objects([target])[0] if main else None

    def _write(self, folder: Path, meta: Mapping[str, Any], end_of_epoch: bool) -> None:
        for name, obj in self._per_rank.items():
            obj.save(folder / f"{name}.rank{self.ranks.rank}.ckpt")
        if not self.ranks.main:
            return
        with MainProcessContext():  # SpeechBrain's own hooks must not wait for other ranks
            for name, obj in self.recoverables.items():
                hook = self.custom_save_hooks.get(name) or get_default_hook(obj, DEFAULT_SAVE_HOOKS)
                hook(obj, folder / f"{name}.ckpt")
        meta = {**as_plain(meta), SETUP: self.setup}
        latest = max((c.meta["unixtime"] for c in self.list_checkpoints()), default=0.0)
        meta["unixtime"] = max(time.time(), latest + 1e-3)  # order survives a clock set back
        self._save_checkpoint_metafile(folder / METAFNAME, meta, end_of_epoch)

    def save_and_keep_only(
        self, meta=None, end_of_epoch=True, name=None, num_to_keep=None, keep_recent=True,
        importance_keys=(), max_keys=(), min_keys=(), ckpt_predicate=None, verbosity=logging.INFO,
    ):
        """Publish a checkpoint, then delete all but the `num_to_keep` (default `keep`) newest.

        Checkpoints that lead by another key given here are kept too.
        """
        keep = self.keep if num_to_keep is None else num_to_keep
        _refuse_few(keep)
        super().save_and_keep_only(
            meta, end_of_epoch, name, keep, keep_recent, list(importance_keys), list(max_keys),
            list(min_keys), ckpt_predicate, verbosity,
        )

    def delete_checkpoints(self, **choice):
        """Delete as SpeechBrain does, on rank 0, each folder in one rename."""
        self.ranks.attempt((lambda: self._delete(**choice)) if self.ranks.main else None)

    def _delete(self, *, num_to_keep=2, min_keys=(), max_keys=(), importance_keys=(),
                ckpt_predicate=None, verbosity=logging.INFO):
        kept: set[Path] = set()
        orders = [{"min_key": key} for key in min_keys or ()]
        orders += [{"max_key": key} for key in max_keys or ()]
        orders += [{"importance_key": key} for key in importance_keys]
        found = [self.find_checkpoints(ckpt_predicate=ckpt_predicate, **o) for o in orders or [{}]]
        for ranked in found:
            kept.update(checkpoint.path for checkpoint in ranked[:num_to_keep])
        for path in {checkpoint.path for ranked in found for checkpoint in ranked} - kept:
            hidden = path.with_name(f".tmp-deleted-{path.name}")
            path.rename(hidden)
            shutil.rmtree(hidden)

    def recover_if_possible(
        self, importance_key=None, max_key=None, min_key=None, ckpt_predicate=None
    ):
        """Load the newest (or best) intact checkpoint on all ranks; None if there is none.

        Raises:
            ConfigError: it was written with another setup; every difference is listed.
        """
        chosen: list[Checkpoint] = []

        def choose() -> None:
            found = self.find_checkpoints(importance_key, max_key, min_key, ckpt_predicate)
            chosen.extend(self._first_intact(found))
            for checkpoint in chosen:
                refuse_other_setup(checkpoint, self.setup)

        self.ranks.attempt(choose if self.ranks.main else None)
        paths = self.ranks.share([checkpoint.path for checkpoint in chosen])
        if not paths:
            return None
        checkpoint = self._construct_checkpoint_objects(paths)[0]
        self.ranks.attempt(lambda: self.load_checkpoint(checkpoint))
        return checkpoint

    def load_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Load a checkpoint into all registered objects, this rank's own states last."""
        super().load_checkpoint(checkpoint)
        for name, obj in self._per_rank.items():
            obj.load(checkpoint.path / f"{name}.rank{self.ranks.rank}.ckpt")

    def _first_intact(self, checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
        for checkpoint in checkpoints:
            problems = sealed.faults(checkpoint.path)
            if not problems:
                return [checkpoint]
            self.say(f"warning: checkpoint {checkpoint.path} is damaged ({'; '.join(problems)}); "
                     "going back to the one before it")
            checkpoint.path.rename(checkpoint.path.with_name(f"damaged-{checkpoint.path.name}"))
        return []

    def _list_checkpoint_dirs(self) -> list[Path]:
        """Return what looks whole: the seal, names, sizes and the meta file are right."""
        valid = []
        for path in sorted(self.checkpoints_dir.glob(f"{CKPT_PREFIX}+*")):
            problems = sealed.faults(path, read=[METAFNAME])
            if not problems:
                valid.append(path)
            elif path not in self._warned:
                self._warned.add(path)
                self.say(f"warning: {path} is no whole checkpoint ({'; '.join(problems)}): ignored")
        return valid

    def _next_path(self, name: str | None) -> Path:
        if name is not None:
            return self._custom_checkpoint_dirpath(name)
        numbers = [path.name.partition("+")[2] for path in self.checkpoints_dir.iterdir()]
        latest = max((int(number) for number in numbers if number.isdigit()), default=0)
        return self.checkpoints_dir / f"{CKPT_PREFIX}+{latest + 1:06d}"


def as_plain(value: Any) -> Any:
    """Turn numpy and torch scalars, tuples and paths into what YAML and JSON can hold.

    Raises:
        TypeError: something has no plain form.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return as_plain(value.tolist())
    if isinstance(value, bool | int | float | str):
        return next(kind(value) for kind in (bool, int, float, str) if isinstance(value, kind))
    raise TypeError(f"{value!r} of type {type(value).__name__} has no plain form")


def refuse_other_setup(checkpoint: Checkpoint, setup: Mapping[str, Any]) -> None:
    """Raise ConfigError if a checkpoint was written with another setup, listing what differs."""
    before = checkpoint.meta.get(SETUP, {})
    problems = [
        f"{key}: {before.get(key)!r} in the checkpoint, {setup.get(key)!r} now"
        for key in sorted(before.keys() | setup.keys())
        if before.get(key) != setup.get(key)
    ]
    if problems:
        raise ConfigError(
            f"{checkpoint.path} was written with other settings; going on would be neither the "
            "old training nor the new one",
            problems,
            remedy=f"set them back, or delete {checkpoint.path.parent} to begin anew",
        )


def _refuse_few(keep: int) -> None:
    if keep < 2:
        raise ConfigError(
            f"keep is {keep}: keep at least 2 checkpoints, because the newest may be damaged"
        )


def _finish(temporary: Path, target: Path) -> None:
    sealed.seal(temporary)
    with publish(target) as beside:
        temporary.rename(beside)


def _save_state(obj: Any, path: Path) -> None:
    state = obj.state_dict()
    refuse_non_finite(path.stem, state)
    torch.save(state, path)


def _load_state(obj: Any, path: Path, end_of_epoch: bool) -> None:
    obj.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))


def _save_json(obj: Any, path: Path) -> None:
    path.write_text(json.dumps(as_plain(obj.state_dict())), encoding="utf-8")


def _load_json(obj: Any, path: Path, end_of_epoch: bool) -> None:
    obj.load_state_dict(json.loads(path.read_text(encoding="utf-8")))
