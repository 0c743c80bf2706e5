"""Any run of the tables in a small form: tiny encoders of random weights, imitation releases.

One fold, one seed, one epoch, few utterances, in this process. What is small follows from the
run's own configuration, so that a new row needs nothing here.
"""

import copy
import functools
import importlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import sertools.stages
import soundfile
import tiny_models
import yaml
from recipes import copy_recipe, run_here
from releases import RELEASES
from sertools.data.manifest import read_manifest, write_manifest
from sertools.data.record import Record
from sertools.recipe.config import Config
from sertools.recipe.tree import UNFILLED
from sertools.tables.data import Run
from sertools.tables.recipes import recipe_of, resolve

Options = dict[str, Any]
Path_ = tuple[str, ...]

PLAIN = {
    "corpus.allow_subset": "true", "corpus.min_seconds": 0.01, "device": "cpu",
    "precision": "fp32", "num_workers": 0, "trainer.tensorboard": "false",
    "pretrainer.tensorboard": "false", "pretrainer.teacher_precision": "fp32",
    "synthesis.speakers": 6, "synthesis.utterances": 2,
}  # fmt: skip
"""What a key becomes if the row does not give it."""
ALWAYS = {
    "trainer.expect_trainable": "null", "pretrainer.updates": "null",
    "pretrainer.warmup_updates": 0, "folds.dev_groups": 1,
}  # fmt: skip
"""What a key becomes, whatever the row gives; published counts do not hold for tiny encoders."""
MOST = {
    "trainer.epochs": 1, "pretrainer.epochs": 1, "pretrainer.batch": 4, "feature_seconds": 0.3,
    "pretrainer.batch_seconds": 4, "pretrainer.update_seconds": 4, "trainer.crop_seconds": 0.3,
    "trainer.inner": 12, "trainer.hidden": 16, "trainer.dim": 16, "trainer.head.projection": 16,
    "folds.count": 3, "pretrainer.guard_after": 1000,
}  # fmt: skip
"""Numbers that become no larger than this."""
BUILT = {**tiny_models.SIZES, "conv_dim": tiny_models.CONV}
"""Sizes wherever a configuration builds an encoder by `build_encoder`."""
BUILDERS = {
    "sertools.models.presets.build_encoder": BUILT,
    "sertools.models.text.small_text": {"dim": 16},
    "sertools.models.emotion2vec.DecoderConfig": tiny_models.DECODER,
}
EXPERIMENT = re.compile(r"(?:\.\./([^/]+)/)?exp/([^/]+)(/.*)?")
"""Recipe (none: the own one), experiment, and the rest of a path in one."""
SOURCES = ("source", "start", "pretrained")
"""Last words of the keys that name weights."""


@dataclass(frozen=True)
class Outcome:
    """What a run left."""

    folder: Path
    """Of its experiment."""
    results: dict | None
    """results.json; None of a run that ends with a pretraining."""
    seconds: float
    words: list[str] = field(repr=False)
    """What stood behind `python run.py`."""

    @property
    def pretrained(self) -> Path:
        """Return the folder of the pretraining that it makes or shares."""
        importlib.reload(sertools.stages)  # its modules hide factories of the same name
        recipe = recipe_of(self.folder.parents[1])
        return recipe.plan(self.words)[0].places.shared / "pretrain"

    @property
    def unit(self) -> Path:
        """Return the folder of its fold and seed."""
        (found,) = self.folder.glob("fold*/seed*")
        return found


class Smoke:
    """Recipe folders beside each other, whose runs share what is prepared, cached and pretrained.

    Args:
        repository: the checkout.
        root: an empty folder for copies of recipes, releases, models and everything that is made.
    """

    def __init__(self, repository: Path, root: Path):
        self.repository, self.root, self.models = repository, root, root / "models"
        self.done: dict[tuple, Outcome] = {}
        (root / "releases").mkdir(parents=True, exist_ok=True)

    def run(self, run: Run, needs: tuple[Run, ...] = (), **more: Any) -> Outcome:
        """Run it, if it has not been run; return what it left.

        Args:
            run: a run of the tables.
            needs: those that its row needs; made where a tiny encoder cannot stand in for them.
            more: further options; "__" stands for the dot in a key.

        Raises:
            AssertionError: it ended with another exit code than 0; holds all that it printed.
            LookupError: there is no imitation of its release, or of an encoder.
        """
        extra = {name.replace("__", "."): value for name, value in more.items()}
        key = (run, tuple(extra.items()))
        if key not in self.done:
            start = time.perf_counter()
            self.done[key] = self._run(run, needs, extra, start)
        return self.done[key]

    def _run(self, run: Run, needs: tuple[Run, ...], extra: Options, start: float) -> Outcome:
        recipe, words = self.recipe(run.recipe), self.command(run, needs, extra)
        fold = ["--fold", 1] if "folds" in self.values(run) else []
        said = run_here(recipe, *words, *fold)
        folder = recipe / "exp" / said.partition(": ")[0]
        report = folder / "report/results.json"
        results = json.loads(report.read_text()) if report.is_file() else None
        return Outcome(folder, results, time.perf_counter() - start, [str(word) for word in words])

    def command(self, run: Run, needs: tuple[Run, ...] = (), extra: Options = {}) -> list:  # noqa: B006
        """Return what stands behind `python run.py` for all folds in small form."""
        options = dict(run.options) | self.small(run, needs) | extra
        name = str(options.get("trainer.transcripts", "corpus"))
        if name != "corpus" and not (self.recipe(run.recipe) / name).is_file():
            self._recognise(run, name)
        return [f"hparams/{run.config}.yaml", *self._data(run.recipe), *words_of(options)]

    # ------------------------------------------------------------------------------ places

    def recipe(self, name: str) -> Path:
        """Return a copy of a recipe's folder; its release lies beside, too."""
        folder = self.root / "egs" / name
        if not folder.is_dir():
            build = RELEASES.get(name)
            if build:
                build(self.root / "releases" / name)
            elif name not in ("mini", "pretrain"):
                raise LookupError(f"{name}: there is no imitation of its release in "
                                  "tests/egs/releases.py")
            copy_recipe(self.repository, name, self.root)
        return folder

    def _data(self, name: str) -> list:
        folder = self.root / "releases"
        return [] if name == "mini" else ["--data_folder", folder / name if name in RELEASES
                                          else folder]

    def model(self, source: str) -> Path:
        """Return the encoder that a value of a source means, made when first asked for."""
        return tiny_models.save(source, self.models)

    # ------------------------------------------------------------------------------- sizes

    def values(self, run: Run) -> dict:
        """Return the plain values of a run's configuration with its own options."""
        values = copy.deepcopy(self._configured(run.recipe, run.config))
        for name, text in run.options:
            *above, last = name.split(".")
            inner = functools.reduce(lambda found, key: found.setdefault(key, {}), above, values)
            try:
                inner[last] = yaml.safe_load(text)
            except yaml.YAMLError:  # a sentence
                inner[last] = text
        return values

    @functools.cache  # noqa: B019  lives as long as the tests
    def _configured(self, name: str, config: str) -> dict:
        recipe = self.recipe(name)
        found = Config(recipe / f"hparams/{config}.yaml", {}, recipe)
        assert not found.problems, found.problems
        return found.values

    def small(self, run: Run, needs: tuple[Run, ...] = ()) -> Options:
        """Return the options that make a run small, beside or instead of its own."""
        given, found = dict(run.options), {}
        values = self.values(run)
        for path, value in leaves(values):
            key = ".".join(path)
            if key in ALWAYS:
                found[key] = ALWAYS[key]
            elif key in PLAIN and key not in given:
                found[key] = PLAIN[key]
            elif key in MOST and isinstance(value, int | float):
                found[key] = min(value, MOST[key])
            elif path[-1] in SOURCES and isinstance(value, str) and value != UNFILLED:
                found[key] = self._source(run, value, needs)
            elif path[-1] in BUILDERS.get(kind_of(values, path), ()):
                found[key] = BUILDERS[kind_of(values, path)][path[-1]]
        if found.get("pretrainer.updates") and "pretrainer.epochs" not in found:
            found["pretrainer.epochs"] = 1
        if isinstance(values.get("seeds"), list):
            found["seeds"] = f"[{values['seeds'][0]}]"
        folds = values.get("folds") or {}
        if folds.get("listed"):
            there = self._groups(run, values)
            if set(sum(folds["listed"], [])) - set(there):
                found["folds.listed"] = json.dumps([[group] for group in there])
        if values.get("pretrained") is None:
            found |= self._heard(values)
        return found

    def _source(self, run: Run, value: str, needs: tuple[Run, ...]) -> Path:
        """Return a tiny encoder for a source, or the experiment that another run leaves."""
        found = EXPERIMENT.fullmatch(value)
        if not found or (found[3] or "").startswith("/pretrain/"):
            return self.model(value)
        return self.run(self._made(found[1] or run.recipe, found[2], needs)).folder

    def _made(self, recipe: str, tag: str, needs: tuple[Run, ...]) -> Run:
        """Return the run that makes an experiment: a needed one, or a configuration as it is."""
        egs = self.repository / "egs"
        for need in needs:
            if need.recipe == recipe and resolve(egs, need).plan.places.tag == tag:
                return need
        names = [path.stem for path in egs.glob(f"{recipe}/hparams/*.yaml")]
        near = [name for name in names if tag == name or tag.startswith(f"{name}_")]
        if not near:
            raise LookupError(f"egs/{recipe}/exp/{tag}: no configuration of that recipe makes it")
        return Run(recipe, max(near, key=len))

    def _heard(self, values: dict) -> Options:
        """Return options that give a pretraining a few seconds of each corpus it names."""
        found = {}
        for name, source in ((values.get("pretraining_data") or {}).get("sources") or {}).items():
            if source["manifest"].startswith("data/") and "corpus" in values:
                continue  # its own, which it prepares
            folder = self.root / "heard" / name
            if not folder.is_dir():
                records = [Record(id=f"{name}-{n}", path=modulated(folder / f"{n}.wav", n).name,
                                  speaker=f"{name}-s", duration=SECONDS,
                                  audio_hash=f"{len(name):016x}{n:016x}") for n in range(4)]
                write_manifest(folder / "utts.json", records)
            found[f"pretraining_data.sources.{name}.manifest"] = folder / "utts.json"
            found[f"pretraining_data.sources.{name}.folder"] = folder
        return found

    def _prepared(self, run: Run, values: dict) -> dict[str, Record]:
        """Return the manifest of a run's corpus, prepared without regard to its folds."""
        recipe = self.recipe(run.recipe)
        path = recipe / "data" / (values["corpus"].get("set") or "all") / "utts.json"
        if not path.is_file():
            mine = {key: value for key, value in PLAIN.items() if key.startswith("corpus.")}
            if (values.get("folds") or {}).get("listed"):
                mine |= {"folds.kind": "leave_one_out", "folds.listed": "null",
                         "folds.dev_groups": 1}
            run_here(recipe, f"hparams/{run.config}.yaml", *self._data(run.recipe),
                     *words_of(mine), "--stop-stage", "prepare")
        return read_manifest(path)

    def _groups(self, run: Run, values: dict) -> list[str]:
        """Return the speakers or sessions that the imitation has."""
        group = values["folds"].get("group", "speaker")
        return sorted({getattr(record, group) for record in self._prepared(run, values).values()})

    def _recognise(self, run: Run, name: str) -> None:
        """Write what a recogniser that hears one word wrong in every turn might have written."""
        lines = [json.dumps({"id": id, "text": f"word {record.text or ''}"})
                 for id, record in self._prepared(run, self.values(run)).items()]
        (self.recipe(run.recipe) / name).write_text("\n".join([*lines, ""]))


SECONDS = 2.0
"""Length of what a pretraining hears."""


def modulated(path: Path, number: int) -> Path:
    """Write noise that is loud and soft in turn."""
    generator = numpy.random.default_rng([number, len(path.parent.name)])
    time = numpy.arange(round(16000 * SECONDS)) / 16000
    loud = 0.5 + 0.5 * numpy.sin(2 * numpy.pi * (1 + number / 4) * time)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.05 * loud**2 * generator.standard_normal(len(time)), 16000)
    return path


def words_of(options: Mapping[str, Any]) -> list:
    """Return options as the words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def leaves(values: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """Yield the keys of everything that is no mapping."""
    if isinstance(values, dict):
        for name, inner in values.items():
            if not name.startswith("!"):
                yield from leaves(inner, (*path, name))
    else:
        yield path, values


def kind_of(values: dict, path: Path_) -> str | None:
    """Return the class or function that a key is an argument of."""
    for name in path[:-1]:
        values = values[name]
    return values.get("!name", values.get("!new"))
