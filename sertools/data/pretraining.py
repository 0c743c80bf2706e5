"""What self-supervised pretraining hears: utterances of any prepared corpora, cut, not padded.

Source of the rules: ddlBoJack/fairseq (branch emotion2vec, 47cc7d5): clips of at least 0.5 s,
longer ones cut to 20 s at random, every batch cut to its shortest clip; waveforms are normalised
over the whole utterance before any cut. A pretrainer may ask for another cut (`dataset`).
"""

from __future__ import annotations

import difflib
import functools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sertools.data.feature_shards import digest
from sertools.data.manifest import read_manifest
from sertools.data.prepared import INDEX, Prepared, check_audio, check_prepared, read_prepared
from sertools.data.record import Record
from sertools.errors import ConfigError
from sertools.files import sha256

if TYPE_CHECKING:
    from sertools.data.pretraining_dataset import PretrainingDataset, Utterance

_VERSION = 1
"""Raised when equal options and corpora give other waveforms."""


class PretrainingData:
    """The corpora of a pretraining, as a configuration declares them.

    Args:
        sources: prepared corpora by name; each has `manifest` (relative to the recipe) and
            `folder` of its release (relative to `releases`, or absolute).
        shards: folders that `utils/make_shards.py` wrote (relative to `releases`, or absolute).
        exclude: corpora, or `corpus/speaker`, to leave out. The manifest of a corpus that is left
            out altogether need not exist.
        min_seconds: shorter utterances are left out and counted.
        max_seconds: longer ones are cut to this, where `dataset` is told; None leaves them whole.
        sample_rate: in Hz.
        cache_megabytes: memory for waveforms, in every process that loads audio.
        releases: folder that holds the releases (relative to data_folder, or absolute); None takes
            data_folder itself. For recipes whose data_folder is the release of one corpus.

    Raises:
        ConfigError: options that cannot be meant; all of them are listed.
    """

    def __init__(
        self,
        sources: Mapping[str, Mapping[str, str]] | None = None,
        shards: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        min_seconds: float = 0.5,
        max_seconds: float | None = 20.0,
        sample_rate: int = 16000,
        cache_megabytes: float = 512,
        releases: str | None = None,
    ):
        self.releases = releases
        self.sources, self.shards, self.exclude = sources or {}, shards or [], exclude or []
        self.min_seconds, self.max_seconds = min_seconds, max_seconds
        self.sample_rate, self.cache_megabytes = sample_rate, cache_megabytes
        problems = list(self._problems())
        if problems:
            raise ConfigError("the data of pretraining are not declared soundly", problems)

    def dataset(
        self,
        base: str | Path,
        data_folder: str | Path | None,
        seed: int,
        normalise: bool = True,
        crop: str = "random",
    ) -> PretrainingDataset:
        """Read the manifests, check that all audio is there, and return the utterances by id.

        Args:
            base: folder of the recipe.
            data_folder: folder that holds the releases; None if every folder is absolute.
            seed: of the random cuts.
            normalise: zero mean, unit variance over each whole utterance, before the cut.
            crop: what is left of utterances longer than max_seconds: their `start`, or a `random`
                place, another in every epoch.

        Raises:
            ConfigError: a manifest is missing (all are named, with the command that makes each),
                `exclude` names what there is not, or `crop` is no such word.
            DataError: audio is missing, an id occurs twice, shards are damaged, nothing is left.
        """
        # Imported here, so that declaring and fingerprinting wait for no audio library.
        from sertools.data.pretraining_dataset import (
            PretrainingDataset,
            Utterance,
            check_utterances,
        )
        from sertools.data.shards import AudioShards, ShardReader

        sources, folders = self._places(base, data_folder)
        manifests = read_prepared(sources, _unfinished(folders))
        opened = [AudioShards(folder) for folder in folders]
        found = [Utterance(source.name, record, source.folder) for source in sources
                 for record in manifests[source.name].values()]
        found += [Utterance(one.utterances[id]["corpus"], one.record(id), one.folder, True)
                  for one in opened for id in one.ids]
        self._check_exclude(found)
        kept, left_out = self._choose(found)
        check_utterances(kept, left_out)
        used: dict[str, list[Record]] = defaultdict(list)
        for utterance in kept:
            if not utterance.in_shard:
                used[utterance.corpus].append(utterance.record)
        check_audio([source for source in sources if source.name in used], used)
        cut = {} if self.max_seconds is None else {
            "crop": crop, "crop_seconds": self.max_seconds}
        reader = ShardReader(opened, sample_rate=self.sample_rate, normalise=normalise,
                             cache_megabytes=self.cache_megabytes, **cut)
        return PretrainingDataset(kept, reader, seed, left_out)

    def fingerprint(self, base: str | Path, data_folder: str | Path | None) -> str:
        """Return a hash over what is heard: utterances, speakers, and the options that matter.

        Labels, where the folders lie and the size of the cache do not matter: the sound is the
        same.

        Raises:
            ConfigError: a manifest or an index is missing.
            DataError: a manifest is not sound.
        """
        return self._fingerprint(base, data_folder, _sound_of)

    def former_fingerprint(self, base: str | Path, data_folder: str | Path | None) -> str:
        """Return what `fingerprint` was when all of a manifest counted, labels included."""
        return self._fingerprint(base, data_folder, sha256)

    def _fingerprint(self, base, data_folder, content: Callable[[Path], str]) -> str:
        sources, folders = self._places(base, data_folder)
        sources = [source for source in sources if source.name not in self.exclude]
        check_prepared(sources, _unfinished(folders))
        return digest({
            "version": _VERSION,
            "sources": {source.name: content(source.manifest) for source in sources},
            "shards": sorted(sha256(folder / INDEX) for folder in folders),
            "exclude": sorted(self.exclude), "min_seconds": self.min_seconds,
            "max_seconds": self.max_seconds, "sample_rate": self.sample_rate})

    def _problems(self) -> Iterator[str]:
        if not isinstance(self.sources, Mapping):
            yield "sources: give corpora by name, each with `manifest` and `folder`"
        else:
            for name, source in self.sources.items():
                keys = set(source) if isinstance(source, Mapping) else None
                if keys != {"manifest", "folder"} or not all(
                        isinstance(value, str) and value for value in source.values()):
                    yield f"sources.{name}: give two texts, `manifest` and `folder`"
            if not self.sources and not self.shards:
                yield "sources: name at least one prepared corpus, or a folder under `shards`"
        for key in ("shards", "exclude"):
            value = getattr(self, key)
            if isinstance(value, str) or not all(isinstance(item, str) and item for item in value):
                yield f"{key}: {value!r} is not a list of texts"
        if self.releases is not None and not (isinstance(self.releases, str) and self.releases):
            yield f"releases: {self.releases!r} is not a folder's name"
        numbers = {key: getattr(self, key) for key in (
            "min_seconds", "max_seconds", "sample_rate", "cache_megabytes")}
        for key, value in numbers.items():
            optional = key == "max_seconds" and value is None
            if not optional and (isinstance(value, bool) or not isinstance(value, int | float)
                                 or not 0 <= value < float("inf")):
                yield f"{key}: {value!r} is not a number of 0 or more"
                return
        if self.sample_rate < 1 or self.sample_rate != int(self.sample_rate):
            yield f"sample_rate: {self.sample_rate} is not a whole number of 1 or more"
        if self.max_seconds is not None and not self.max_seconds > self.min_seconds:
            yield f"max_seconds: {self.max_seconds} is not above min_seconds {self.min_seconds}"

    def _places(
        self, base: str | Path, data_folder: str | Path | None
    ) -> tuple[list[Prepared], list[Path]]:
        """Return the sources there are to read, and the folders of shards, as absolute paths."""
        texts = [*(item["folder"] for item in self.sources.values()), *self.shards]
        relative = [text for text in texts if _relative(text)]
        own = self.releases is not None and not _relative(self.releases)
        if relative and data_folder is None and not own:
            raise ConfigError("data_folder is not set",
                              [f"{text} is relative to it" for text in relative],
                              "give --data_folder, the folder that holds the releases")
        root = _below(data_folder or os.sep, self.releases or ".")
        sources = [Prepared(name, _below(base, item["manifest"]), _below(root, item["folder"]))
                   for name, item in self.sources.items()]
        sources = [source for source in sources
                   if source.name not in self.exclude or source.manifest.is_file()]
        return sources, [_below(root, text) for text in self.shards]

    def _choose(
        self, found: Sequence[Utterance]
    ) -> tuple[list[Utterance], dict[str, dict[str, int]]]:
        """Return what is used, and reason -> corpus -> number of what is left out."""
        kept, left_out = [], defaultdict(Counter)
        short = f"shorter than {self.min_seconds:g} s"
        for utterance in found:
            corpus, seconds = utterance.corpus, utterance.record.duration
            if corpus in self.exclude or utterance.speaker in self.exclude:
                left_out["excluded"][corpus] += 1
            elif seconds is not None and seconds < self.min_seconds:
                left_out[short][corpus] += 1
            else:
                kept.append(utterance)
        return kept, {reason: dict(sorted(counts.items())) for reason, counts in left_out.items()}

    def _check_exclude(self, found: Sequence[Utterance]) -> None:
        known = {utterance.corpus for utterance in found} | self.sources.keys()
        known |= {utterance.speaker for utterance in found} - {None}
        problems = []
        for name in self.exclude:
            # the speakers of a corpus that is left out altogether may be unknown
            corpus, slash, _ = name.partition("/")
            if name not in known and not (slash and corpus in self.exclude):
                near = difflib.get_close_matches(name, known, 1, 0.5)
                problems.append(f"{name!r} is neither a corpus nor corpus/speaker"
                                f"{f', the nearest is {near[0]!r}' if near else ''}")
        if problems:
            raise ConfigError("`exclude` names what there is not", problems)


def _below(root: str | Path, path: str) -> Path:
    """Return an absolute path without `..`; a relative one begins at `root`."""
    return Path(os.path.abspath(Path(root) / Path(path).expanduser()))


def _sound_of(manifest: Path) -> str:
    """Return a hash over what a manifest says of its audio and speakers."""
    state = manifest.stat()
    return _sound(manifest, state.st_mtime_ns, state.st_size)


@functools.lru_cache
def _sound(manifest: Path, *state: int) -> str:
    return digest([[one.id, one.audio_hash or one.path, one.speaker, one.start, one.end,
                    one.channel, one.duration] for one in read_manifest(manifest).values()])


def _relative(text: str) -> bool:
    return not os.path.isabs(os.path.expanduser(text))


def _unfinished(folders: Sequence[Path]) -> list[str]:
    return [f"{folder} holds no finished shards; write them with utils/make_shards.py MANIFEST... "
            f"--out {folder}" for folder in folders if not (folder / INDEX).is_file()]
