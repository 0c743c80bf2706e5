"""CMU-MOSI, opinions on films spoken in videos, in English: records of the labelled segments.

Zadeh et al., "MOSI: Multimodal Corpus of Sentiment Intensity and Subjectivity Analysis in Online
Opinion Videos", 2016 (arXiv 1606.06259). `Labels/OpinionLevelSentiment.csv` holds start, end,
video, number and sentiment of each segment; `Audio/WAV_16000` the recordings, `Segmented` those of
the segments, `Full` those of whole videos.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio, walk
from sertools.data.record import Record
from sertools.errors import ConfigError

STEM = re.compile(r"(?P<video>[A-Za-z0-9_-]{11})(?:_(?P<number>\d+))?")
"""A video's name, 11 characters of YouTube, and for a segment its number."""
TABLE = "OpinionLevelSentiment.csv"
DELIMITER = "_DELIM_"
"""Between number and text in `Transcript/Segmented/<video>.annotprocessed`."""
STRONGEST = 3.0
"""Sentiment goes from -3 to 3."""

# The standard fold of the authors' CMU-MultimodalSDK: 52, 10 and 31 videos.
PARTS = {
    "train": """
        2iD-tVS8NPw 8d-gEyoeBzc Qr1Ca94K55A Ci-AH39fi3Y 8qrpnFRGt2A Bfr499ggo-0 QN9ZIUWUXsY
        9T9Hf74oK10 7JsX8y1ysxY 1iG0909rllw Oz06ZWiO20M BioHAh1qJAQ 9c67fiY0wGQ Iu2PFX3z_1s
        Nzq88NnDkEk Clx4VXItLTE 9J25DZhivz8 Af8D0E4ZXaw TvyZBvOMOTc W8NXH0Djyww 8OtFthrtaJM
        0h-zjBukYpk Vj1wYRQjB-o GWuJjcEuzt8 BI97DNYfe5I PZ-lDQFboO8 1DmNV9C1hbY OQvJTdtJ2H4
        I5y0__X72p0 9qR7uwkblbs G6GlGvlkxAQ 6_0THN4chvY Njd1F0vZSm4 BvYR0L6f2Ig 03bSnISJMiM
        Dg_0XKD0Mf4 5W7Z1C_fDaE VbQk4H8hgr0 G-xst2euQUc MLal-t_vJPM BXuRRbG0Ugk LSi-o-IrDMs
        Jkswaaud0hk 2WGyTLYerpo 6Egk_28TtTM Sqr0AcuoNnk POKffnXeBds 73jzhE8R1TQ OtBXNcAL_lE
        HEsqda8_d0Q VCslbP0mgZI IumbAb8q2dM
        """,
    "dev": """
        WKA5OygbEKI c5xsKMxpXnc atnd_PF-Lbs bvLlb-M3UXU bOL9jKpeJRs _dI--eQ6qVU ZAIRrfG22O0
        X3j2zQgwYgE aiEXnCPZubE ZUXBRvtny7o
        """,
    "test": """
        tmZoasNr4rU zhpQhgha_KU lXPQBPVc5Cw iiK8YX8oH1E tStelxIAHjw nzpVDcQ0ywM etzxEpPuc6I
        cW1FSBF59ik d6hH302o4v8 k5Y_838nuGo pLTX3ipuDJI jUzDDGyPkXU f_pcplsH_V0 yvsjCA6Y5Fc
        nbWiPyCm4g0 rnaNMUZpvvg wMbj6ajWbic cM3Yna7AavY yDtzw_Y-7RU vyB00TXsimI dq3Nf_lMPnE
        phBUpBr1hSo d3_k5Xpfmik v0zCBqDeKcE tIrG4oNLFzE fvVhgmXxadc ob23OKe5a9Q cXypl4FnoZo
        vvZ4IcEtiZc f9O3YtZ2VfI c7UH_rxdZv4
        """,
}
SPLITS = {video: part for part, videos in PARTS.items() for video in videos.split()}


def records(root: Path, faults: Faults, missing_segments: str = "refuse") -> Iterator[Record]:
    """Yield one record per labelled segment; the raw label is negative, neutral or positive.

    Negative is a sentiment below 0, neutral exactly 0. A segment's own recording is taken where
    there is one, else its stretch of the whole video's. The video stands for the speaker. Tags:
    `video`, `segment` (its number), `sentiment` (-3 to 3).

    Args:
        root: the unpacked release, the folder that holds `Raw` or `Audio`, `Labels`, `Transcript`.
        faults: collects every file and line that cannot be used, with its remedy.
        missing_segments: refuse, or leave_out (and count) segments without a recording.

    Raises:
        ConfigError: `missing_segments` has none of these values.
    """
    if missing_segments not in ("refuse", "leave_out"):
        raise ConfigError(f"missing_segments is {missing_segments!r}",
                          remedy="choose refuse or leave_out")
    recordings = _recordings(root, faults)
    table = _table(root, faults) if recordings else None
    if table is None:
        return
    texts, used = _transcripts(root, faults), set()
    for where, (start, end, video, number, sentiment) in _rows(root, table, faults):
        stem = f"{video}_{number}" if f"{video}_{number}" in recordings else video
        used |= {stem, f"{video}_{number}", video}
        path = recordings.get(stem)
        if path is not None:
            cut = (None, None) if stem != video else (float(start), float(end))
            place = path.relative_to(root).as_posix()
            text = texts.get((video, number))
            yield _record(place, video, number, sentiment, cut, text)
        elif missing_segments == "leave_out":
            faults.drop("segment without a recording", where)
        else:
            faults.add(where, f"there is neither {video}_{number}.wav nor {video}.wav",
                       "complete Audio/WAV_16000; or leave these segments out with "
                       "corpus.options.missing_segments: leave_out and corpus.allow_subset: true",
                       "segments without a recording")
    for stem in sorted(recordings.keys() - used):
        faults.drop("recording without a label", recordings[stem].relative_to(root))


def _recordings(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the recordings of segments and of whole videos by name."""
    found = {}
    for path in find_audio(root, faults):
        if STEM.fullmatch(path.stem):
            found[path.stem] = path
        else:
            faults.add(path.relative_to(root), "the name is not video and number, as in "
                       "03bSnISJMiM_1", "take the file out, or give it its official name back")
    return found


def _table(root: Path, faults: Faults) -> Path | None:
    """Return the one table of labels."""
    found = sorted((path for path in walk(root) if path.name == TABLE),
                   key=lambda path: (len(path.parts), path))
    if not found:
        faults.add(TABLE, "is missing (labels in .csd files are HDF5, which is not read here)",
                   "put the table of the release into data_folder", "labels that are missing")
        return None
    for path in found[1:]:
        if path.read_bytes() != found[0].read_bytes():
            faults.add(path.relative_to(root), f"differs from {found[0].relative_to(root)}",
                       "keep one table of labels in data_folder", "files that clash")
    return found[0]


def _rows(root: Path, path: Path, faults: Faults) -> Iterator[tuple[str, list[str]]]:
    """Yield the sound lines of the table (it has no header): where each stands, and its cells."""
    text = path.read_text(encoding="utf-8-sig", errors="backslashreplace")
    reader, seen = csv.reader(io.StringIO(text, newline="")), {}
    for cells in reader:
        where = f"{path.relative_to(root).as_posix()} line {reader.line_num}"
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            continue
        first = seen.setdefault(tuple(cells[2:4]), where)
        problem = _problem(cells) or (f"stands already in {first}" if first != where else None)
        if problem:
            faults.add(where, problem, "get the table again, as it is", "lines that cannot be used")
        else:
            yield where, cells


def _problem(cells: list[str]) -> str | None:
    """Say what is wrong with a line, or None."""
    if len(cells) != 5:
        return f"has {len(cells)} cells, not start, end, video, segment, sentiment"
    if cells[2] not in SPLITS:
        return f"video {cells[2]!r} is none of the 93 of the standard fold"
    if not cells[3].isdecimal():
        return f"segment is {cells[3]!r}, not a number"
    try:
        start, end, sentiment = (float(cells[place]) for place in (0, 1, 4))
    except ValueError:
        return "start, end or sentiment is not a number"
    if not 0 <= start < end < math.inf:
        return f"the segment goes from {start} s to {end} s"
    if not -STRONGEST <= sentiment <= STRONGEST:
        return f"sentiment is {sentiment}, not between -3 and 3"
    return None


def _transcripts(root: Path, faults: Faults) -> dict[tuple[str, str], str]:
    """Return the text of each segment by video and number; copies may have none."""
    texts = {}
    for path in walk(root):
        if path.suffix != ".annotprocessed":
            continue
        lines = path.read_bytes().decode("utf-8-sig", errors="replace").splitlines()
        for place, line in enumerate(lines, 1):
            number, found, text = line.strip().partition(DELIMITER)
            if found and number.isdecimal():
                texts[path.stem, number] = text.strip()
            elif line.strip():
                faults.drop("line of a transcript that cannot be read",
                            f"{path.relative_to(root).as_posix()} line {place}")
    return texts


def _record(
    where: str, video: str, number: str, sentiment: str,
    cut: tuple[float | None, float | None], text: str | None,
) -> Record:
    value = float(sentiment)
    return Record(
        id=f"mosi-{video}_{number}",
        path=where,
        label="neutral" if value == 0 else "negative" if value < 0 else "positive",
        speaker=video,
        text=text or None,
        language="en",
        split=SPLITS[video],
        start=cut[0],
        end=cut[1],
        tags={"video": video, "segment": number, "sentiment": sentiment},
    )
