"""Every row of Vesper's tables runs and does what it says; the tables' counts are ours."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sertools.models.account import describe
from sertools.models.encoder import SpeechEncoder
from sertools.models.presets import preset_config
from sertools.models.thinning import thinned_config
from sertools.models.upstream import load_upstream
from sertools.models.weights import load_encoder
from sertools.objectives.emotion_masking import MaskRule, draw_masks, frame_energy
from sertools.tables import Run
from smoke import Outcome, Smoke
from tabled import arguments_of, is_twin, tables_of

EGS = Path(__file__).resolve().parents[2] / "egs"
TABLES = tables_of("vesper")
ROWS = list(dict.fromkeys(
    words for table in TABLES.values() for row in table.rows
    if (words := arguments_of(table, row, "iemocap"))
    and (row.name == "none_12" or not is_twin(table, row, "iemocap"))
))  # fmt: skip
"""Of rows that differ in depth alone, Vesper-4's."""
BY_DEFAULT = (
    "hparams/vesper4.yaml --pretrainer.cross_weight 0",
    "hparams/vesper_baseline.yaml --upstream.source microsoft/wavlm-base",
)
LOSSES = ("acoustic", "semantic", "cross")
MASKS = ("mask", "mask_budget", "small_span", "small_spans", "large_span", "large_spans")
BLOCKS = {  # of 24, whose mean each block of Vesper-4 is
    "uniform_extract": [[0], [6], [12], [18]],
    "uniform_average": [range(6), range(6, 12), range(12, 18), range(18, 24)],
    "identity_mapping": [[0], [1], [2], [3]],
}


def options_of(row: tuple[str, ...]) -> dict[str, str]:
    return {name[2:]: value for name, value in zip(row[1::2], row[2::2], strict=True)}


@pytest.fixture(scope="module")
def smoke(repository, tmp_path_factory) -> Smoke:
    """Return the folder in which all rows are run."""
    return Smoke(repository, tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def answers() -> set[bytes]:
    """Return what the rows of the released head predicted."""
    return set()


def outcome_of(smoke: Smoke, row: tuple[str, ...]) -> Outcome:
    """Run a row; the learning rate of its pretraining leaves the initialisation to be seen."""
    still = {"pretrainer__lr": 0.0000001} if re.search(r"vesper\d", row[0]) else {}
    return smoke.run(Run("iemocap", Path(row[0]).stem, tuple(options_of(row).items())), **still)


@pytest.mark.parametrize("row", [
    pytest.param(row, id=" ".join(row)[8:],
                 marks=() if " ".join(row) in BY_DEFAULT else pytest.mark.slow) for row in ROWS
])  # fmt: skip
def test_row_runs_and_its_switch_acts(smoke, answers, row):
    given, outcome = options_of(row), outcome_of(smoke, row)
    assert outcome.results["protocol"]["protocol"] == given.get("protocol", "clean")
    if any(name.startswith("pretrainer.") for name in given):
        check_pretraining(smoke, row, outcome.pretrained)
    check_head(smoke, row, outcome.unit)
    if "released" in row[0]:  # each changes what is learned
        said = (outcome.unit / "evaluate/test.jsonl").read_bytes()
        assert said not in answers
        answers.add(said)


def check_pretraining(smoke: Smoke, row: tuple[str, ...], folder: Path) -> None:
    """Look for the row's switches in what a pretraining left."""
    given = {name.partition(".")[2]: value for name, value in options_of(row).items()}
    origin = json.loads((folder / "vesper.json").read_text())
    student = load_encoder(folder / "best/encoder")
    expected = int(given.get("layers", re.search(r"vesper(\d+)", row[0])[1]))
    assert student.num_layers == origin["student"]["layers"] == expected
    assert origin["student"]["initialisation"] == given.get("initialisation", "uniform_extract")
    for name in {*MASKS, "crop", "padding"} & set(given):
        assert str((origin | origin["masks"])[name]) == given[name]
    if given.get("epochs") == "0":
        assert not (folder / "metrics.jsonl").exists()
    else:
        train = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["train"]
        absent = {name for name in LOSSES if given.get(f"{name}_weight") == "0"}
        assert {name for name in LOSSES if name in train} == set(LOSSES) - absent
        assert 0 < train["small_share"] < 1 and 0 < train["large_share"] < 1
    teacher = load_encoder(smoke.model(given.get("teacher.source", "microsoft/wavlm-large")))
    depth = teacher.num_layers
    targets = json.loads(given.get("teacher_layers", f"[{depth // 2}, {depth}]"))
    assert origin["teacher"]["layers"] == depth and origin["teacher"]["targets"] == targets
    if depth == 24:
        check_blocks(student, teacher, given)


def check_blocks(student: SpeechEncoder, teacher: SpeechEncoder, given: dict[str, str]) -> None:
    """Compare the student's blocks with means of its teacher's, of 24."""
    way, count = given.get("initialisation", "uniform_extract"), student.num_layers
    chosen = json.loads(given.get("blocks", "null"))
    if way == "custom_average":
        chosen = [range(first, last + 1) for first, last in chosen]
    elif way == "custom_extract":
        chosen = [[block] for block in chosen]
    elif way == "uniform_extract":
        chosen = [[block] for block in range(0, 24, 24 // count)]
    chosen = chosen or BLOCKS.get(way)
    names = [name for name, value in student.blocks[0].named_parameters() if value.dim() == 2]
    for number, block in enumerate(student.blocks):
        mine = block.state_dict()
        theirs = [teacher.blocks[n].state_dict() for n in (chosen[number] if chosen else range(24))]
        for name in names:
            if chosen:
                mean = sum(state[name] for state in theirs) / len(theirs)
                torch.testing.assert_close(mine[name], mean, atol=1e-4, rtol=0)
            else:
                assert all((mine[name] - state[name]).abs().max() > 1e-3 for state in theirs)


def check_head(smoke: Smoke, row: tuple[str, ...], unit: Path) -> None:
    """Look for head and encoder in what a fold left."""
    given = options_of(row)
    best = load_file(unit / "train/best/model.safetensors")
    inner = {name.rpartition("head.")[2]: value for name, value in best.items()}
    last = given.get("trainer.head.layers") == "last"
    assert ("layer_weights" in inner) == (not last)
    assert ("projection.weight" in inner) == ("transformer" not in row[0])
    if "upstream.source" in given and not last:
        depth = load_upstream(smoke.model(given["upstream.source"])).num_layers
        assert len(inner["layer_weights"]) == depth + 1


def test_rows_are_found_and_differ():
    assert len(ROWS) == len(set(ROWS)) >= 45
    assert {" ".join(row) for row in ROWS} >= set(BY_DEFAULT)
    subsets = {frozenset(name for name in options_of(row) if name.endswith("_weight"))
               for row in ROWS}
    assert len(subsets) == 7  # all subsets of three losses but the empty one
    ways = {options_of(row).get("pretrainer.initialisation") for row in ROWS}
    assert {*BLOCKS, "custom_extract", "custom_average", "random"} == ways - {None} | {
        "uniform_extract"}


def test_files_of_the_main_comparison_are_in_all_corpora():
    for corpus in ("meld", "cremad"):
        for file in ("vesper4", "vesper12", "vesper_baseline", "vesper_released"):
            assert (EGS / corpus / f"hparams/{file}.yaml").is_file()


def test_published_sizes_are_beside_those_of_our_code():
    rows = TABLES["sizes"].rows
    assert len(rows) == 11 and sum(bool(row.cells) for row in rows) == 10
    for row in rows:
        millions = describe(row.preset)["parameters"] / 1e6
        if row.name.startswith("vesper"):
            assert round(millions, 2) == row.cells["parameters"].value
        elif row.cells:  # with what only their pretraining needs
            assert 0 < row.cells["parameters"].value - millions < 2, row.name


def test_depths_have_the_sizes_of_our_code():
    rows = TABLES["depth"].rows
    assert [row.name for row in rows] == [f"depth{n}" for n in (2, 4, 6, 8, 12)]
    for row in rows:
        layers = int(row.name.removeprefix("depth"))
        with torch.device("meta"):
            student = SpeechEncoder(thinned_config(preset_config("wavlm_large"), layers))
        told, counted = describe(row.preset), describe(student)
        assert told["parameters"] == 13128832 + layers * 12596760 == counted["parameters"]
        assert told["macs_per_second"] == counted["macs_per_second"]
        given = options_of(arguments_of(TABLES["depth"], row, "iemocap"))
        assert given.get("pretrainer.layers", str(layers)) == str(layers)


def test_masked_shares_are_those_that_are_drawn():
    """Noise whose loudness swings one to four times a second, 512 utterances of 5 s."""
    generator, time = torch.Generator().manual_seed(1), torch.arange(80000) / 16000
    energies = []
    for _ in range(16):
        speed, phase = torch.rand(2, 32, 1, generator=generator)
        loud = 0.5 + 0.5 * torch.sin(2 * torch.pi * ((1 + 3 * speed) * time + phase))
        wave = torch.randn(32, 80000, generator=generator) * loud**2
        energies.append(frame_energy(wave, 249, 400, 320))
    tables = TABLES["masks"], TABLES["spans"]
    said = [(options_of(arguments_of(table, row, "iemocap")),
             [row.cells[f"{size}_share"].value for size in ("small", "large")])
            for table in tables for row in table.rows if not is_twin(table, row, "iemocap")]
    assert len(said) == 8
    assert all("0.51 (small mask) and 0.48 (large mask)" in table.note for table in tables)
    for options, shares in [*said, ({}, [0.51, 0.48])]:
        words = {name.removeprefix("pretrainer."): value for name, value in options.items()}
        rule = {name.removeprefix("mask_"): int(value) if value.isdigit() else value
                for name, value in words.items()}
        drawn = [draw_masks(part, torch.full((32,), 249), MaskRule(**rule), generator)
                 for part in energies]
        for share, masks in zip(shares, zip(*drawn, strict=True), strict=True):
            mean = torch.cat(masks).float().mean().item()
            assert round(mean, 2) == share, (options, mean)
