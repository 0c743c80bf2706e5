#!/usr/bin/env python3
"""Find the recordings that a sentence describes, and the sentences that describe a recording.

    python utils/retrieve.py MODEL --audio recordings/ "an angry voice" "emotion is sadness"
    python utils/retrieve.py MODEL --audio data/all/utts.json --data_folder DATA anger sadness
    python utils/retrieve.py MODEL --file clip.wav
    python utils/retrieve.py MODEL --file clip.wav --prompts "a calm voice" "somebody shouts"
    python utils/retrieve.py MODEL --audio data/all/utts.json --data_folder DATA --evaluate

MODEL is a trained GEmo-CLAP: the folder of its unit (exp/<tag>/fold<k>/seed<n>) or train/best in
it; encoders are rebuilt from the experiment's config.json. A class's name stands for its prompts;
name="a sentence" gives a class another one. For classes and their own prompts no text encoder is
loaded. --audio takes what utils/extract_embeddings.py takes: a manifest, an EmoBox list, a Kaldi
wav.scp, a folder, an audio file. Its embeddings are kept in --cache and made once.

Probabilities are softmax(exp(s_a) cosine / T) over the given sentences, T as calibrated in
training. --evaluate needs labels: average precision of each class's sentence over all utterances,
recall among its k nearest, and how often an utterance's nearest sentence is right.

Exit code 0: done; 2: options; 3: some audio cannot be used (all of it is listed, the rest is
done); 4: interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from sertools.data.script import device_named, run, writable
from sertools.errors import ConfigError, DataError

WINDOW, OVERLAP = 60.0, 4.0  # seconds


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = _parser()
    parser.parse_args = parser.parse_intermixed_args  # sentences may stand behind options
    return run(parser, _retrieve, argv)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("model", metavar="MODEL", help="folder of a trained unit, or best in it")
    add("sentences", nargs="*", metavar="SENTENCE",
        help='what to look for: a class, a sentence, or name="a sentence" (default: all classes)')
    add("--audio", metavar="INPUT", help="list, folder or file in which to look")
    add("--file", nargs="+", metavar="CLIP", help="recordings to describe")
    add("--prompts", nargs="+", default=[], metavar="SENTENCE", help="further sentences")
    add("--evaluate", action="store_true", help="score the labelled utterances of --audio")
    add("--k", type=int, default=5, metavar="K", help="how many of the nearest (default: 5)")
    add("--data_folder", "--data-folder", type=Path, metavar="FOLDER",
        help="what the paths of a list start from (needed for a manifest)")
    add("--cache", type=Path, metavar="DIR",
        help="folder of the embeddings of --audio (default: beside the model, in train/retrieve)")
    add("--recipe", type=Path, metavar="FOLDER", help="folder from which relative paths of the "
        "configuration count (default: the one that holds exp/)")
    add("--json", type=Path, metavar="FILE", help="write the answers there too")
    add("--batch-seconds", type=float, default=80.0, metavar="S",
        help="padded audio in a batch, seconds (default: 80)")
    add("--compute", choices=("fp32", "bf16"), default="fp32", help="(default: fp32)")
    add("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    add("--num-workers", type=int, default=0, metavar="N",
        help="processes that read audio (default: 0)")
    return parser


def _retrieve(options: argparse.Namespace) -> None:
    _refuse(options)
    from sertools.brains.gemoclap_trained import best_of, load_trained
    from sertools.data.corpus import Faults
    from sertools.data.gather import gather
    from sertools.files import read_json, write_json

    device, faults, best = device_named(options.device), Faults(), best_of(options.model)
    inputs = [options.audio] if options.audio else options.file
    records = gather(inputs, options.data_folder, faults)
    prompts = read_json(best / "best.json").get("prompts", {})
    queries = _queries([*options.sentences, *options.prompts], prompts)
    known = _known(prompts)
    new = [text for text in queries.values() if text not in known]
    trained = load_trained(best, bool(new), options.recipe)
    trained.model.to(device)
    if new:
        _warn_of_unknown(trained, new)
    sentences = _vectors(trained, queries, known)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) if options.file else _cache(options, best)
        ids, vectors, facts = _embed(trained, records, place, options, faults, device)
    cosines = vectors @ sentences.T
    names = list(queries)
    if options.evaluate:
        answers = _evaluate(cosines, facts, names, options.k)
    elif options.file:
        answers = _describe(trained, cosines, facts, queries, prompts, options.k)
    else:
        answers = _nearest(cosines, ids, facts, names, options.k)
    if options.json:
        write_json(options.json, answers)
    if faults:
        raise DataError(f"{len(faults)} faults; everything else is done", faults.groups())


def _refuse(options: argparse.Namespace) -> None:
    wrong = []
    if bool(options.audio) == bool(options.file):
        wrong.append("give --audio, in which to look, or --file, to describe; one of them")
    if options.evaluate and not options.audio:
        wrong.append("--evaluate needs --audio with labels")
    if options.k < 1:
        wrong.append(f"--k {options.k}: give 1 or more")
    if not 0 < options.batch_seconds < float("inf"):
        wrong.append(f"--batch-seconds {options.batch_seconds:g}: give a positive number")
    if options.num_workers < 0:
        wrong.append(f"--num-workers {options.num_workers}: give 0 or more")
    if wrong:
        raise ConfigError("these options do not work", wrong)


# Sentences


def _queries(given: list[str], prompts: dict[str, list[str]]) -> dict[str, str]:
    """Return name -> sentence; a class's own prompts are written as its name."""
    found: dict[str, str] = {}
    problems = []
    for text in given or list(prompts):
        name, equals, sentence = text.partition("=")
        name, sentence = (name.strip(), sentence.strip()) if equals else (text.strip(),) * 2
        if not name or not sentence:
            problems.append(f"{text!r} says nothing")
        elif found.setdefault(name, sentence) != sentence:
            problems.append(f"{name} has two sentences: {found[name]!r} and {sentence!r}")
    if problems:
        raise ConfigError("these sentences cannot be looked for", problems)
    return found


def _known(prompts: dict[str, list[str]]) -> dict[str, str]:
    """Return which class a name, or a prompt that is a class's only one, stands for."""
    return {text: name for name, texts in prompts.items()
            for text in (name, *(texts if len(texts) == 1 else ()))}


def _vectors(trained, queries: dict[str, str], known: dict[str, str]):
    """Return unit vectors (k, dim) of the sentences."""
    import torch

    return torch.stack([trained.classes[known[text]] if text in known else trained.read([text])[0]
                        for text in queries.values()])


def _warn_of_unknown(trained, sentences: list[str]) -> None:
    """Say which sentences have words that the model never learned; refuse those of no other."""
    counts = trained.unknown(sentences)
    hopeless = [repr(text) for text, (odd, total) in counts.items() if odd == total]
    if hopeless:
        raise ConfigError("the model never learned any word of these sentences", hopeless,
                          "use words of the prompts that it was trained with: "
                          + ", ".join(map(repr, trained.learned)))
    for text, (odd, total) in counts.items():
        if odd:
            print(f"{odd} of {total} tokens of {text!r} are unknown to the model", file=sys.stderr)


# Sound


def _cache(options: argparse.Namespace, best: Path) -> Path:
    if options.cache:
        return options.cache
    where = f"{Path(options.audio).absolute()} {options.data_folder} {options.compute}"
    name = hashlib.sha256(where.encode()).hexdigest()[:8]
    return best.parent / "retrieve" / f"{Path(options.audio).stem}-{name}"


def _embed(trained, records, folder: Path, options: argparse.Namespace, faults, device):
    """Return ids, unit vectors (n, dim) and facts of all utterances that can be heard."""
    import torch
    from sertools.brains.extract import Options, extract
    from sertools.data.embeddings import EmbeddingFolder, read_embeddings
    from sertools.recipe.lock import Lock, described, holder
    from sertools.recipe.signals import Signals

    hearing, longest = trained.hearing, trained.seconds
    if longest is not None:
        records = {id: dataclasses.replace(record, duration=None, end=min(
            record.end or float("inf"), (record.start or 0.0) + longest))
            for id, record in records.items()}
    window = min(WINDOW, hearing.max_seconds or WINDOW)
    settings = {
        "format": "safetensors", "level": "utterance", "layers": "last", "precision": "fp32",
        "compute": options.compute, "window_seconds": window, "overlap_seconds": OVERLAP,
        "model": hearing.identity, "sample_rate": hearing.sample_rate,
        "frame_rate": hearing.frame_rate, "dim": hearing.dim,
    }
    lock = Lock(writable(folder, "--cache") / ".lock", "retrieve.py")
    if not lock.acquire():
        raise ConfigError(f"{folder} is in use by {described(holder(lock.path))}",
                          remedy="wait for that run, or name another folder with --cache")
    made = Options(compute=options.compute, window=window, overlap=OVERLAP,
                   batch_seconds=options.batch_seconds, num_workers=options.num_workers)
    try:
        with Signals().watched() as signals:
            extract(hearing, records, EmbeddingFolder(folder, settings), made, faults, device,
                    lambda: signals.arrived is not None,
                    lambda text: print(text, file=sys.stderr))
    finally:
        lock.release()
    broken = DataError("no recording can be used", faults.groups())
    try:
        found = read_embeddings(folder)
    except DataError as error:
        raise broken from error
    rows = [row for row, id in enumerate(found.ids) if id in records]
    if not rows:
        raise broken
    vectors = trained.embed(torch.from_numpy(found.vectors[rows]))
    return [found.ids[row] for row in rows], vectors, [found.facts[row] for row in rows]


# Answers


def _nearest(cosines, ids: list[str], facts: list[dict], names: list[str], k: int) -> dict:
    answers = {}
    for column, name in enumerate(names):
        print(name)
        answers[name] = []
        for row in cosines[:, column].argsort(descending=True, stable=True)[:k].tolist():
            found = {"id": ids[row], "cosine": round(float(cosines[row, column]), 6),
                     "label": facts[row].get("label"), "audio": facts[row].get("audio")}
            answers[name].append(found)
            print(f"  {found['cosine']:7.4f}  {found['label'] or '-':12}  {found['id']}  "
                  f"{found['audio']}")
    return answers


def _describe(trained, cosines, facts: list[dict], queries: dict[str, str],
              prompts: dict[str, list[str]], k: int) -> dict:
    names, answers = list(queries), {}
    if trained.temperature is None:
        print("the probabilities are not calibrated: the model had no dev part", file=sys.stderr)
    for row, fact in enumerate(facts):
        print(fact["audio"])
        answers[fact["audio"]] = []
        shares = trained.probabilities(cosines[row]).tolist()
        for column in cosines[row].argsort(descending=True, stable=True)[:k].tolist():
            name = names[column]
            said = prompts[name] if queries[name] == name and name in prompts else [queries[name]]
            found = {"name": name, "probability": round(shares[column], 6),
                     "cosine": round(float(cosines[row, column]), 6), "sentences": said}
            answers[fact["audio"]].append(found)
            print(f"  {found['probability']:6.4f}  cosine {found['cosine']:7.4f}  {name}"
                  + "".join(f"  {json.dumps(text, ensure_ascii=False)}" for text in said
                            if text != name))
    return answers


def _evaluate(cosines, facts: list[dict], names: list[str], k: int) -> dict:
    from sertools.scoring.retrieval import retrieval_scores

    labels = [fact.get("label") for fact in facts]
    rows = [row for row, label in enumerate(labels) if label in names]
    others = sorted({str(label) for label in labels if label not in names})
    if not rows:
        raise DataError("no utterance has a label of a sentence", [f"labels: {', '.join(others)}",
                        f"sentences: {', '.join(names)}"],
                        'name the labels: label="a sentence", or give a manifest with labels')
    if others:
        print(f"{len(labels) - len(rows)} utterances have no sentence and are left out "
              f"(label {', '.join(others)})", file=sys.stderr)
    scores = retrieval_scores(cosines[rows].double().numpy(), [labels[row] for row in rows], names,
                              sorted({1, k}))
    print(f"{scores['utterances']} utterances, {len(names)} sentences")
    print("sentence -> utterances: " + ", ".join(
        f"{name} {scores[name]:.4f}" for name in ("mAP", *(f"recall@{n}" for n in sorted({1, k})))))
    print(f"utterance -> sentence: recall@1 {scores['utterance_recall@1']:.4f}, mean over classes "
          f"{scores['mean_class_recall']:.4f}")
    for name, value in scores["average_precision"].items():
        share = scores["utterance_recall@1_by_class"].get(name)
        print(f"  {name:12}  " + ("no utterance" if value is None else
                                  f"average precision {value:.4f}, recall@1 {share:.4f}"))
    return scores


if __name__ == "__main__":
    sys.exit(main())
