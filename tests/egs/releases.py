"""A small imitation of every corpus's release, for runs from raw files to a report."""

import itertools
from pathlib import Path

import trees
import trees_cremad
import trees_emobox
import trees_iemocap
import trees_languages
import trees_mead_esd
import trees_meld
import trees_msp
import trees_sentiment


def sound(path: Path, rate: int = 16000, channels: int = 1, seconds: float = 0.4) -> Path:
    """Write what is long enough for every system."""
    return trees.sound(path, rate, channels, seconds)


def emodb(root: Path) -> None:
    """Build four speakers, each with every emotion once."""
    trees.emodb(root, {name: (1,) * 7 for name in ("03", "08", "09", "10")}, sound)


def ravdess(root: Path) -> None:
    """Build speech and song of four actors."""
    trees.ravdess(root, ("01", "02", "03", "04"), ("01", "02"), sound)


def urdu(root: Path) -> None:
    """Build six speakers, each with every emotion once."""
    trees.urdu(root, {letter: {f"SM{n}": 1 for n in range(1, 7)} for letter in "AHNS"}, sound)


def emotiontts_ko(root: Path) -> None:
    """Build four speakers of the emotional part."""
    groups = {"Emotional/plain-to-emotional": ("ema", "emb", "emf", "emg")}
    trees.emotiontts(root, groups, {}, each=1, write=sound)


def template(root: Path) -> None:
    """Build what the template asks for: audio and one table."""
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
    **trees_emobox.FOR_RUNS,
}  # fmt: skip
"""Recipe -> builder; a recipe that makes its own release (mini) needs none."""
