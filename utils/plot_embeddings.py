#!/usr/bin/env python3
"""Draw embeddings as a map, coloured by what is known of the utterances, with numbers beside it.

    python utils/plot_embeddings.py emb --colour label --method umap --out map.svg
    python utils/plot_embeddings.py emb --colour arousal --method tsne --out arousal.png
    python utils/plot_embeddings.py emb/emodb emb/ravdess --colour corpus --method pca --out two.svg

EMBEDDINGS are folders that utils/extract_embeddings.py wrote with one model. The numbers (mean
silhouette, accuracy of the k nearest neighbours) are those of the embeddings themselves and do not
depend on the map; they are printed for every colouring that the utterances allow.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.script import run
from sertools.errors import ConfigError, DataError

COLOURS = ("label", "speaker", "gender", "arousal", "corpus")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("embeddings", nargs="+", type=Path, help="folders of embeddings")
    add("--colour", choices=COLOURS, default="label", help="what colours stand for; arousal is "
        "low or high (default: label)")
    add("--method", choices=("umap", "tsne", "pca"), default="umap", help="(default: umap)")
    add("--out", type=Path, required=True, metavar="FILE", help="figure.svg or figure.png")
    add("--layer", type=int, metavar="N", help="which depth, where the folder has several")
    add("--manifest", type=Path, metavar="FILE",
        help="utts.json that knows more about the utterances, by id")
    add("--threshold", type=float, metavar="X",
        help="arousal from X on is high (default: the median)")
    add("--neighbours", type=int, default=5, metavar="K", help="of the accuracy (default: 5)")
    add("--most", type=int, default=10_000, metavar="N",
        help="take so many utterances at random if there are more (default: 10000)")
    add("--seed", type=int, default=0, help="of the map and of that choice (default: 0)")
    return run(parser, _plot, argv)


def _plot(options: argparse.Namespace) -> None:
    from sertools.report.scatter import Scatter, refuse_picture, write_scatter

    wrong = [f"--{name} {getattr(options, name)}: give 1 or more" for name in ("neighbours", "most")
             if getattr(options, name) < 1]
    if not 0 <= options.seed < 2**32:
        wrong.append(f"--seed {options.seed}: give 0 to {2**32 - 1}")
    if wrong:
        raise ConfigError("these options do not work", wrong)
    refuse_picture(options.out)
    ids, vectors, facts = _read(options)
    groups = {colour: _groups(colour, facts, options.threshold) for colour in COLOURS}
    if not any(groups[options.colour]):
        raise DataError(f"no utterance has a known {options.colour}", [],
                        "name a manifest that knows it with --manifest, or another --colour")

    from sertools.report.projection import project

    points = project(vectors, options.method, options.seed)
    lines = _numbers(vectors, groups, options.neighbours)
    name = {"umap": "UMAP", "tsne": "t-SNE", "pca": "principal components"}[options.method]
    tips = [f"{id}: {group or 'unknown'}" for id, group in
            zip(ids, groups[options.colour], strict=True)]
    title = f"{', '.join(folder.name for folder in options.embeddings)} by {options.colour}, {name}"
    write_scatter(options.out, Scatter(points, groups[options.colour], tips, title,
                                       lines.get(options.colour, "")))
    for line in lines.values():
        print(line)
    print(options.out)


def _read(options: argparse.Namespace):
    import numpy as np
    from sertools.data.embeddings import read_embeddings
    from sertools.data.manifest import read_manifest

    several = [read_embeddings(folder, options.layer) for folder in options.embeddings]
    same = ("model", "layers", "compute")
    wrong = [f"{folder}: another {key} than {options.embeddings[0]}"
             for folder, found in zip(options.embeddings, several, strict=True)
             for key in same if found.meta[key] != several[0].meta[key]]
    if wrong:
        raise ConfigError("these embeddings do not live in one space", wrong,
                          "extract them with the same model and layer")
    ids = [id for found in several for id in found.ids]
    facts = [fact for found in several for fact in found.facts]
    vectors = np.concatenate([found.vectors for found in several])
    if options.manifest:
        records = read_manifest(options.manifest)
        if not records.keys() & set(ids):
            raise ConfigError(f"{options.manifest} knows none of the utterances",
                              [f"it has {next(iter(records), 'none')}, they are {ids[0]}, ..."])
        known = {id: record.as_dict() | {"dataset": id.partition("-")[0]}
                 for id, record in records.items()}
        facts = [fact | known.get(id, {}) for id, fact in zip(ids, facts, strict=True)]
    if len(ids) > options.most:
        draw = np.random.default_rng(options.seed)
        chosen = np.sort(draw.choice(len(ids), options.most, replace=False))
        print(f"{options.most} of {len(ids)} utterances, drawn at random")
        ids, facts = [ids[n] for n in chosen], [facts[n] for n in chosen]
        vectors = vectors[chosen]
    return ids, vectors, facts


def _groups(colour: str, facts: list[dict], threshold: float | None) -> list[str | None]:
    """Return the group of every utterance, None where it is unknown."""
    if colour != "arousal":
        name = "dataset" if colour == "corpus" else colour
        return [fact.get(name) for fact in facts]
    values = [fact.get("arousal") for fact in facts]
    known = sorted(value for value in values if value is not None)
    if threshold is None and known:
        middle = len(known) // 2
        threshold = known[middle] if len(known) % 2 else (known[middle - 1] + known[middle]) / 2
    names = (f"low, below {threshold:g}", f"high, {threshold:g} or more") if known else ("", "")
    return [None if value is None else names[value >= threshold] for value in values]


def _numbers(vectors, groups: dict[str, list[str | None]], k: int) -> dict[str, str]:
    """Return a line of figures for every colouring with two groups or more."""
    from sertools.scoring.clusters import separation

    lines = {}
    for colour, own in groups.items():
        if len(set(own) - {None}) < 2:
            continue
        speakers = None if colour in ("speaker", "corpus") else groups["speaker"]
        found = separation(vectors, own, speakers, k)
        words = [f"{colour}: {found.number} utterances, {found.groups} groups",
                 "silhouette " + _shown(found.silhouette),
                 f"{k} nearest neighbours {_shown(found.knn, True)}"]
        if found.knn_other_speakers is not None:
            words.append(f"of other speakers {_shown(found.knn_other_speakers, True)}")
        lines[colour] = ", ".join([*words, f"largest group {_shown(found.largest, True)}"])
    return lines


def _shown(value: float | None, percent: bool = False) -> str:
    if value is None:
        return "undefined"
    return f"{100 * value:.1f} %" if percent else f"{value:.3f}"


if __name__ == "__main__":
    sys.exit(main())
