"""What a student keeps of its teacher: found by the folder of the teacher's encoder."""

import pytest
from sertools.report.aggregate import aggregate
from sertools.report.students import students


@pytest.fixture
def pair(make_units, make_meta, classes):
    """Return a function from facts of the student to results of a teacher and of it."""

    def make(tag="e2v", **facts):
        teacher = {"source": "exp/e2v/pretrain/best/encoder", "parameters": 1000, "frozen": True}
        systems = ((tag, {}, 1000), ("vesper", {"teacher": teacher | facts}, 400))
        found = []
        for name, provenance, size in systems:
            units = make_units(folds=2)
            for unit in units:
                unit.encoder = {"parameters": size, "macs_per_second": None, "seconds": None}
                unit.parameters = {"total": size + 9, "trainable": 9}
            meta = make_meta(folds=2, tag=name, system=name, provenance=provenance)
            found.append(aggregate(units, classes, meta))
        for results, score in zip(found, (0.75, 0.65), strict=True):
            results["summary"]["UA"]["pooled"] = score
            results["chance"] = {"UA": 0.25}
        return found

    return make


def test_sizes_and_scores_are_shares_of_the_teachers(pair):
    (line,) = students(pair())
    assert line.startswith("vesper has 40 % of the parameters of its teacher e2v")
    assert "87 % of its UA (65.00 of 75.00; 80 % of what is above chance)" in line
    assert "its layers frozen as its teacher's" in line


def test_a_fine_tuned_student_is_told_apart(pair):
    (line,) = students(pair(frozen=False))
    assert "fine-tuned end to end (the teacher: its layers frozen)" in line


def test_no_sentence_without_the_teachers_results(pair):
    assert students(pair(tag="another")) == []
    assert students(pair()[1:]) == students([]) == []
    teacher, student = pair()
    student["experiment"]["corpus"] = "elsewhere"
    assert students([teacher, student]) == []
