"""The README's words hold: files, options, make targets and links that it names exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("egs/*/README.md"))]
README = PAGES[0].read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    typed = "\n".join(block for kind, block in blocks if kind in ("", "sh"))
    lines = typed.replace("\\\n", " ").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def test_quick_start_is_two_commands():
    start = README[README.index("## Quick start") : README.index("### Installation")]
    assert [line.split()[:2] for line in commands(start)] == [["make", "demo"], ["make", "test"]]
    assert "make test" in (REPOSITORY / ".ci/run").read_text()


def test_make_targets_exist():
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE)
    for name in re.findall(r"`make ([a-z]+)|^make ([a-z]+)", README, flags=re.MULTILINE):
        assert (name[0] or name[1]) in targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_recipes_scripts_and_options_exist(page):
    text = page.read_text(encoding="utf-8")
    folder = page.parent if page is not PAGES[0] else REPOSITORY / "egs/emodb"
    help_text = subprocess.run(
        [sys.executable, REPOSITORY / "egs/emodb/run.py", "--help"],
        capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    for line in commands(text):
        for script in re.findall(r"python (utils/\S+\.py|benchmarks/\S+\.py)", line):
            assert (REPOSITORY / script).is_file(), line
        if "run.py" not in line:
            continue
        elsewhere = re.search(r"cd (\S+) && python run", line)
        here = page.parent / elsewhere[1] if elsewhere else folder
        for file in re.findall(r"hparams/\S+\.yaml", line):
            assert (here / file).is_file(), line
            keys = (here / file).read_text(encoding="utf-8")
            for option in re.findall(r" --([a-z_-]+)(?=[ .=]|$)", line.split("--launcher")[0]):
                known = f"--{option}" in help_text or f"{option.replace('-', '_')}:" in keys
                assert known, f"{line}: --{option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.parent.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_rooms_of_the_tour_exist():
    tour = README[README.index("## A tour of the house") : README.index("### Stages")]
    rooms = re.findall(r"^\| `([a-z]+/(?:[a-z]+/)?)", tour, flags=re.MULTILINE)
    assert len(rooms) >= 8
    for room in rooms:
        assert (REPOSITORY / room).is_dir(), room
    for file in re.findall(r"`((?:egs|data|brains|models)/[\w/]+\.py)`", tour):
        assert any((root / file).is_file() for root in (REPOSITORY, REPOSITORY / "sertools")), file


def test_every_recipe_has_its_page():
    for recipe in REPOSITORY.glob("egs/*/run.py"):
        assert (recipe.parent / "README.md").is_file(), recipe


def test_scores_in_the_readme_stand_in_a_results_file():
    """Nobody types a number: each score with its interval was written by code somewhere."""
    section = README[README.index("## Results") : README.index("## Testing")]
    scores = re.findall(r"\d+\.\d+ \[\d+\.\d, \d+\.\d\]", section)
    files = [*REPOSITORY.glob("egs/*/RESULTS*.md"), *REPOSITORY.glob("egs/*/results/*.txt")]
    written = " ".join(" ".join(path.read_text("utf-8") for path in files).split())
    assert len(scores) >= 6
    assert [score for score in scores if score not in written] == []
