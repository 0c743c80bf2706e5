#!/usr/bin/env python3
"""Draw the masks that a pretraining of Vesper's kind may draw for an utterance.

    python utils/plot_masks.py recording.wav --out masks.svg
    python utils/plot_masks.py egs/emodb/data/all/utts.json --data_folder /corpora/emodb \\
        --id emodb-03a01Fa --mask random --budget matched --seed 3 --out masks.png
    python utils/plot_masks.py recording.wav --encoder small --small-span 4 --large-span 20 \\
        --out masks.svg

The curve is the energy of each frame, with the bands that count as loud and soft. Below it, frame
by frame: where spans of the small mask may begin (loud, soft), the small mask and the large mask.
INPUT is an audio file or a list of utterances, as in utils/extract_embeddings.py.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sertools.data.script import run
from sertools.errors import ConfigError

# Numbers of MaskRule that have an option of their own; their defaults are those of the class
WHOLE = ("small_span", "small_spans", "large_span", "large_spans", "gap")
BANDS = ("high", "low")


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("input", type=Path, help="an audio file, or a manifest, list or folder of utterances")
    add("--out", type=Path, required=True, metavar="FILE", help="figure.svg or figure.png")
    add("--id", help="which utterance, if there are several")
    add("--data_folder", "--data-folder", type=Path, metavar="FOLDER",
        help="what the paths of a list start from (needed for a manifest)")
    add("--encoder", default="vesper4", metavar="PRESET|FOLDER",
        help="whose frames: a preset, or a folder of an encoder (default: vesper4, 50 Hz)")
    add("--start", type=float, default=0.0, metavar="S", help="seconds to leave out (default: 0)")
    add("--seconds", type=float, default=5.0, metavar="S",
        help="longest crop; 0 takes all of it (default: 5)")
    add("--mask", help="emotion_guided, random or released (default: emotion_guided)")
    add("--budget", help="released, or matched with random (default: released)")
    for name in WHOLE:
        add(f"--{name.replace('_', '-')}", type=int, metavar="N", help="see MaskRule")
    add("--share", type=float, metavar="X", help="see MaskRule")
    for name in BANDS:
        add(f"--{name}", type=float, nargs=2, metavar=("FROM", "TO"),
            help="energies, in shares of the greatest")
    add("--place", type=int, default=1, metavar="N", help="place in the batch, which matters for "
        "released alone; the utterances before it are taken to be as loud (default: 1)")
    add("--seed", type=int, default=0, help="of the draws (default: 0)")
    return run(parser, _plot, argv)


def _plot(options: argparse.Namespace) -> None:
    from sertools.objectives.emotion_masking import MaskRule
    from sertools.report.scatter import refuse_picture

    wrong = []
    if options.place < 1:
        wrong.append(f"--place {options.place}: give 1 or more")
    for name in ("start", "seconds"):
        if not 0 <= getattr(options, name) < float("inf"):
            wrong.append(f"--{name} {getattr(options, name):g}: give 0 or more")
    if not 0 <= options.seed < 2**63:
        wrong.append(f"--seed {options.seed}: give 0 to {2**63 - 1}")
    if wrong:
        raise ConfigError("these options do not work", wrong)
    names = ("mask", "budget", "share", *WHOLE, *BANDS)
    given = {name: getattr(options, name) for name in names}
    rule = MaskRule(**{name: value for name, value in given.items() if value is not None})
    refuse_picture(options.out)
    config = _config(options.encoder)
    id, waveform = _waveform(options, config.sample_rate)
    _draw(options, rule, config, id, waveform)


def _draw(options, rule, config, id: str, waveform) -> None:
    import torch
    from sertools.objectives.emotion_masking import candidates, draw_masks, frame_energy, thresholds
    from sertools.report.mask_figure import MaskFigure, write_mask_figure

    frames = config.frames(len(waveform))
    if frames <= rule.small_span:
        raise ConfigError(f"{id} is too short: {frames} frames", [f"a span has {rule.small_span}"],
                          "take another utterance; pretraining leaves such ones out")
    energy = frame_energy(waveform[None], frames, config.receptive_field, config.hop)
    batch = energy.expand(options.place, -1)
    counts = torch.full((options.place,), frames)
    generator = torch.Generator().manual_seed(options.seed)
    small, large = (mask[-1] for mask in draw_masks(batch, counts, rule, generator))
    inside = (torch.arange(frames) < frames - rule.small_span).expand(options.place, -1)
    loud, soft = (marks[-1].tolist() for marks in candidates(batch, inside, rule))
    bounds = thresholds(batch.masked_fill(~inside, 0).amax(1), rule)[-1].tolist()
    strips = {"loud": loud, "soft": soft, "small mask": small.tolist(),
              "large mask": large.tolist()}
    words = [f"{frames} frames, {config.frame_rate:g} a second"]
    words += [f"{name} {sum(marks)} ({100 * sum(marks) / frames:.1f} %)"
              for name, marks in strips.items()]
    name = rule.mask + (", matched budget" if rule.budget == "matched" else "")
    if rule.mask == "released":
        name += f", place {options.place}"
    figure = MaskFigure(
        energy[0].tolist(), 1 / config.frame_rate, strips,
        [("loud", *bounds[:2]), ("soft", *bounds[2:])],
        f"{id}: {name}, seed {options.seed}", ", ".join(words))
    write_mask_figure(options.out, figure)
    print(figure.below)
    print(options.out)


def _config(name: str):
    """Return the structure of a preset or of an encoder's folder."""
    from sertools.files import read_json
    from sertools.models.config import EncoderConfig
    from sertools.models.presets import PRESETS, preset_config
    from sertools.models.weights.folders import is_own

    folder = Path(name)
    if name in PRESETS:
        return preset_config(name)
    if not is_own(folder):
        raise ConfigError(f"--encoder {name}: neither a preset nor an encoder's folder",
                          remedy="name a folder such as exp/<tag>/pretrain/best/encoder, or one "
                          f"of {', '.join(PRESETS)}")
    values = read_json(folder / "config.json")
    known = {key: value for key, value in values.items() if key not in ("format", "pretrained_on")}
    return EncoderConfig.from_dict(known, str(folder / "config.json"))


def _waveform(options: argparse.Namespace, sample_rate: int):
    """Return the utterance's id and its crop, normalised as pretraining does."""
    from sertools.data.audio import load_audio, normalised
    from sertools.data.corpus import Faults
    from sertools.data.gather import gather

    faults = Faults()
    records = gather([options.input], options.data_folder, faults)
    faults.raise_if_any(f"{options.input} cannot be used")
    if options.id is None and len(records) != 1:
        raise ConfigError(f"{options.input} has {len(records)} utterances", list(records)[:5],
                          "name one with --id")
    id = options.id or next(iter(records))
    if id not in records:
        near = [other for other in records if id in other or other in id] or list(records)
        raise ConfigError(f"--id {id}: {options.input} has no such utterance", near[:5],
                          "name one that it has, such as these")
    record = records[id]
    waveform = load_audio(record.path, sample_rate, record.start, record.end, record.channel)
    first = round(options.start * sample_rate)
    length = round(options.seconds * sample_rate) or len(waveform)
    if first >= len(waveform):
        raise ConfigError(f"--start {options.start:g}: {id} has {len(waveform) / sample_rate:.2f} "
                          "seconds", remedy="begin earlier")
    return id, normalised(waveform[first:first + length])


if __name__ == "__main__":
    sys.exit(main())
