"""Every YAML of every recipe runs from raw files to a report, in a small form."""

import itertools
from pathlib import Path

import pytest
import soundfile
import trees
import trees_cremad
import trees_iemocap
import trees_languages
import trees_mead_esd
import trees_meld
import trees_msp
import trees_sentiment
import vesper_models
from recipes import copy_recipe, results_of, run_recipe

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGURATIONS = sorted(
    path.relative_to(REPOSITORY / "egs").as_posix()
    for path in REPOSITORY.glob("egs/*/hparams/*.yaml")
    if not path.name.startswith(("corpus", "folds", "prepare")) and path.parts[-3] != "pretrain"
)
BY_DEFAULT = [  # one of each system; the others are `slow`
    "emodb/hparams/wavlm_probe.yaml", "ravdess/hparams/wavlm_finetune.yaml",
    "emotiontts_ko/hparams/classical.yaml", "emodb/hparams/emotion2vec_plus.yaml",
    "mini/hparams/vesper.yaml", "mini/hparams/audio_text_dimensions.yaml",
    "emodb/hparams/relevance_probes.yaml",
]  # fmt: skip
LEAKY_OFFICIAL_PARTS = ("resd", "meld")  # the release's own parts share speakers or dialogues
SUBSET = ["--corpus.allow_subset", "true", "--corpus.min_seconds", 0.01]
ENCODERS = ("trainer.encoder.source", "upstream.source")
OWN_AUDIO = {  # how small a pretraining is, without a teacher and with one
    False: ["--pretrainer.warmup_updates", 1, "--pretrainer.encoder.dim", 24,
            "--pretrainer.encoder.ffn_dim", 48,
            "--pretrainer.encoder.num_layers", 3, "--pretrainer.decoder.dim", 8],
    True: ["--pretrainer.layers", 1],
}  # fmt: skip


def sound(path: Path, rate: int = 16000, channels: int = 1, seconds: float = 0.4) -> Path:
    return trees.sound(path, rate, channels, seconds)


def emodb(root: Path) -> None:
    trees.emodb(root, {name: (1,) * 7 for name in ("03", "08", "09")}, sound)


def ravdess(root: Path, channel: str = "01") -> None:
    actors = ("01", "02", "03", "04")
    trees.ravdess(root, actors, (channel,), sound)


def urdu(root: Path) -> None:
    trees.urdu(root, {letter: {f"SM{n}": 1 for n in range(1, 7)} for letter in "AHNS"}, sound)


def emotiontts_ko(root: Path) -> None:
    groups = {"Emotional/plain-to-emotional": ("ema", "emb", "emf", "emg")}
    trees.emotiontts(root, groups, {}, each=1, write=sound)


def template(root: Path) -> None:
    lines = ["file,label,speaker"]
    labels = ("angry", "happy", "sad", "neutral")
    for speaker, label, take in itertools.product("abcd", labels, "12"):
        sound(root / f"{speaker}_{label}_{take}.wav")
        lines.append(f"{speaker}_{label}_{take}.wav,{label},{speaker}")
    (root / "metadata.csv").write_text("\n".join(lines))


RELEASES = {
    "emodb": emodb, "ravdess": ravdess, "urdu": urdu, "emotiontts_ko": emotiontts_ko,
    "TEMPLATE": template, **trees_languages.FOR_RUNS,
    "cremad": trees_cremad.for_runs, "iemocap": trees_iemocap.for_runs, "meld": trees_meld.for_runs,
    **trees_sentiment.FOR_RUNS, "msp_podcast": trees_msp.for_runs, **trees_mead_esd.FOR_RUNS,
}  # fmt: skip


@pytest.fixture(scope="session")
def tiny_wavlm(tmp_path_factory) -> Path:
    """Save a WavLM with random weights in the official layout of Hugging Face."""
    from transformers import Wav2Vec2FeatureExtractor, WavLMConfig, WavLMModel

    folder = tmp_path_factory.mktemp("wavlm")
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
             "intermediate_size": 64, "conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16,
             "num_conv_pos_embedding_groups": 4}  # fmt: skip
    WavLMModel(WavLMConfig(**sizes)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory) -> Path:
    """Save a DistilBERT with random weights and a tokeniser of letters."""
    folder = tmp_path_factory.mktemp("distilbert")
    return vesper_models.letters(folder, dim=32, n_layers=1, n_heads=2, hidden_dim=64)


def shrink(text: str, encoder: Path) -> list:
    """Return the options that make a configuration small, whatever system it is."""
    options = ["--precision", "fp32"] if "precision:" in text else []
    small = {"count": 3, "dev_groups": 1}
    if '["01",' in text:  # of ESD the tree has all speakers, so that its folds stay
        small["listed"] = '[["01"],["02"],["03"],["04"]]'
    for key, value in small.items():
        if f"    {key}:" in text and f"    {key}: null" not in text:
            options += [f"--folds.{key}", value]
    if "kind: official" in text or "!include:folds.yaml" in text:  # a single fold
        options += ["--seeds", "1,2,3"]
    if "classical" not in text and "emotion2vec_plus" not in text:
        options += ["--trainer.epochs", 1]
    if "        layers: " in text and "blocks that are kept" in text:
        options += ["--trainer.encoder.layers", 1]
    if "scratch.yaml" in text and "load_upstream" not in text:
        options += ["--trainer.encoder.dim", 24]
    if "audio_text_small.yaml" in text:
        options += ["--trainer.audio.dim", 24, "--trainer.text.dim", 16]
    if "manifest: data/" in text:  # pretrains on its own audio
        options += ["--pretrainer.epochs", 1, *OWN_AUDIO["teacher:" in text]]
        options += ["--pretrainer.teacher.source", encoder] if "teacher:" in text else []
    elif "\npretrained:" in text:  # the pretraining itself: test_vesper_chain.py
        options += ["--pretrained", encoder]
    for key in ENCODERS:
        block = text.partition(key.split(".")[-2] + ":")[2].lstrip()
        if block.startswith("!name:sertools.models.upstream.load") and " source:" in text:
            options += [f"--{key}", encoder]
    return options


@pytest.mark.parametrize("configuration", [
    pytest.param(name, marks=() if name in BY_DEFAULT else pytest.mark.slow)
    for name in CONFIGURATIONS
])  # fmt: skip
def test_configuration_runs_from_raw_files_to_a_report(
    repository, tmp_path, tiny_wavlm, tiny_plus, tiny_bert, configuration
):
    name, _, file = configuration.partition("/")
    recipe = copy_recipe(repository, name, tmp_path)
    text = (recipe / file).read_text()
    options = [file, *SUBSET, *shrink(text, tiny_wavlm)]
    if "trainers/emotion2vec_plus" in text:
        options += ["--trainer.source", tiny_plus]
    if "trainers/audio_text.yaml" in text:
        options += ["--trainer.audio.source", tiny_wavlm, "--trainer.text.source", tiny_bert,
                    "--num_workers", 0]
        options += [] if "--seeds" in options else ["--seeds", 1]
        options += ["--trainer.expect_trainable", "null"] if "expect_trainable" in text else []
    if name == "mini":
        options += ["--synthesis.speakers", 6, "--synthesis.utterances", 2]
    else:
        options += ["--data_folder", tmp_path / "release"]
        arguments = ("02",) if "song" in file else ()
        RELEASES[name](tmp_path / "release", *arguments)
    printed = run_recipe(recipe, *options)
    results = results_of(recipe)
    assert results["coverage"]["units_done"] == results["coverage"]["units_total"] >= 3
    flagged = "random_split" in file
    assert results["protocol"]["protocol"] == ("paper" if flagged else "clean")
    leaks = "kind: official" in text and name in LEAKY_OFFICIAL_PARTS
    assert bool(results["protocol"]["flags"]) == (flagged or leaks)
    dimensional = "dimensions" in file or "relevance" in file or "corpus_dimensions" in text
    score = "CCC" if dimensional else "UA"
    mapped = any("not ratings" in note for note in results["protocol"]["warnings"])
    assert mapped == ("corpus_mapped.yaml" in text)
    assert (results["relevance"] is not None) == ("trainers/relevance" in text)
    assert -1 <= results["summary"][score]["pooled"] <= 1
    assert score in printed


def test_default_configurations_exist():
    assert set(BY_DEFAULT) <= set(CONFIGURATIONS)


def test_a_new_recipe_needs_two_files(repository, tmp_path):
    """A corpus that nothing here knows: copy the template, edit the corpus block, run."""
    copy_recipe(repository, "TEMPLATE", tmp_path)
    import importlib.util

    spec = importlib.util.spec_from_file_location("maker", repository / "utils/new_recipe.py")
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    recipe = maker.new_recipe("parrots", egs=tmp_path / "egs")
    lines = ["file,label,speaker,gender"]
    for speaker, label, take in itertools.product("pqrs", ("happy", "grumpy", "calm"), range(2)):
        file = sound(tmp_path / f"release/{speaker}-{label}-{take}.wav")
        lines.append(f"{file.name},{label},{speaker},{'female' if speaker in 'pq' else 'male'}")
    (tmp_path / "release/metadata.csv").write_text("\n".join(lines))
    assert soundfile.info(file).samplerate == 16000
    corpus = recipe / "hparams/corpus.yaml"
    declared = corpus.read_text()
    labels = declared[declared.index("label_map:") : declared.index("counts:")]
    declared = declared.replace(labels, "label_map: {}\n")
    corpus.write_text(declared.replace("[anger, happiness, neutral, sadness]",
                                       "[happy, grumpy, calm]"))
    run_recipe(recipe, "hparams/classical.yaml", "--data_folder", tmp_path / "release",
               "--folds.count", 3)
    results = results_of(recipe)
    assert results["experiment"]["corpus"] == "parrots"
    assert results["classes"] == ["happy", "grumpy", "calm"]
