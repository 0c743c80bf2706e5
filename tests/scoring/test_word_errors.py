import random

from sertools.scoring.word_errors import edit_distance


def slow(reference, hypothesis):
    """Levenshtein's distance straight from its definition, cell by cell."""
    table = {}
    for i in range(len(reference) + 1):
        for j in range(len(hypothesis) + 1):
            if not i or not j:
                table[i, j] = i + j
                continue
            table[i, j] = min(
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
                table[i - 1, j - 1] + (reference[i - 1] != hypothesis[j - 1]),
            )
    return table[len(reference), len(hypothesis)]


def test_by_hand():
    assert edit_distance("the cat sat on the mat".split(), "the cat sit on mat".split()) == 2
    assert edit_distance(list("kitten"), list("sitting")) == 3
    assert edit_distance([], ["a", "b"]) == 2
    assert edit_distance(["a", "b"], []) == 2
    assert edit_distance([], []) == 0
    assert edit_distance(["a"], ["a"]) == 0


def test_against_a_slow_loop():
    generator = random.Random(1)
    for _ in range(300):
        letters = "abc" if generator.random() < 0.5 else "abcdefghij"
        a, b = (generator.choices(letters, k=generator.randrange(0, 15)) for _ in range(2))
        assert edit_distance(a, b) == slow(a, b), (a, b)
