"""How utterances are divided: by groups that stay together, at random, by shares; all repeatable.

Every order here comes from sorting or from a hash of seed and name, so that the same corpus gives
the same folds on every machine and Python.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from sertools.data.record import Record
from sertools.errors import DataError


def shuffled(names: Iterable[str], seed: int | str) -> list[str]:
    """Return names in an order that depends on nothing but the seed and each name."""
    return sorted(names, key=lambda name: (_digest(seed, name), name))


def by_group(records: Iterable[Record], group: str) -> dict[str, list[Record]]:
    """Return the records of each group (speaker or session), groups sorted by name."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[getattr(record, group)].append(record)
    return dict(sorted(groups.items()))


def balanced_groups(groups: dict[str, list[Record]], count: int, seed: int) -> list[list[str]]:
    """Deal whole groups to `count` folds so that every class is spread as evenly as can be.

    Greedy: the largest group first, each to the fold where the sum over classes of squared shares
    grows least. With at least `count` groups no fold stays empty.
    """
    labels = {name: Counter(str(record.label) for record in members)
              for name, members in groups.items()}
    total = sum(labels.values(), Counter())
    place = {name: number for number, name in enumerate(shuffled(groups, seed))}
    folds: list[list[str]] = [[] for _ in range(count)]
    held = [Counter() for _ in range(count)]
    for name in sorted(groups, key=lambda name: (-len(groups[name]), place[name])):
        costs = [_growth(fold, labels[name], total) for fold in held]
        best = min(range(count), key=lambda i: (costs[i], held[i].total(), i))
        folds[best].append(name)
        held[best] += labels[name]
    return [sorted(fold) for fold in folds]


def random_folds(records: Iterable[Record], count: int, seed: int) -> list[list[str]]:
    """Deal utterances to folds class by class: sizes and class counts differ by one at most."""
    folds: list[list[str]] = [[] for _ in range(count)]
    dealt = 0
    for ids in _by_label(records).values():
        for id in shuffled(ids, seed):
            folds[dealt % count].append(id)
            dealt += 1
    return folds


def random_share(records: Iterable[Record], share: float, seed: int | str) -> set[str]:
    """Draw a share of every class, at least one utterance of each class that has two."""
    drawn: set[str] = set()
    for ids in _by_label(records).values():
        number = round(share * len(ids))
        number = min(max(number, 1), len(ids) - 1)
        drawn |= set(shuffled(ids, seed)[:number])
    return drawn


def stratified_shuffle(records: Iterable[Record], share: float, seed: int) -> set[str]:
    """Draw a share of every class as scikit-learn's StratifiedShuffleSplit does, ids sorted.

    Raises:
        DataError: a class has a single utterance, or the share is too small for all classes.
    """
    from sklearn.model_selection import StratifiedShuffleSplit  # heavy, and rarely needed

    records = sorted(records, key=lambda record: record.id)
    labels = [str(record.label) for record in records]
    draw = StratifiedShuffleSplit(n_splits=1, test_size=share, random_state=seed)
    try:
        ((_, drawn),) = draw.split(labels, labels)
    except ValueError as error:
        raise DataError(f"no share of {share:g} can be drawn from every class: {error}",
                        remedy="take folds.draw: hash, or another folds.test_share") from error
    return {records[place].id for place in drawn}


def group_share(groups: dict[str, list[Record]], share: float, seed: int) -> list[str]:
    """Draw whole groups until they hold a share of the utterances; one group always stays out."""
    wanted = share * sum(map(len, groups.values()))
    drawn: list[str] = []
    for name in shuffled(groups, seed)[:-1]:
        if sum(len(groups[taken]) for taken in drawn) >= wanted:
            break
        drawn.append(name)
    return drawn


def following(order: Sequence[str], start: int, count: int, taken: Iterable[str] = (),
              first: Callable[[str], bool] = lambda name: False) -> list[str]:
    """Return the next `count` groups that are not taken, walking in a circle from `start`.

    Groups for which `first` is true go before the others.
    """
    taken, start = set(taken), start % len(order)
    free = [name for name in (*order[start:], *order[:start]) if name not in taken]
    return sorted(free, key=lambda name: not first(name))[:count]


def _by_label(records: Iterable[Record]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for record in records:
        ids[str(record.label)].append(record.id)
    return dict(sorted(ids.items()))


def _growth(held: Counter, added: Counter, total: Counter) -> float:
    return sum((2 * held[name] * number + number**2) / total[name] ** 2
               for name, number in added.items())


def _digest(seed: int | str, name: str) -> bytes:
    return hashlib.blake2b(f"{seed}\n{name}".encode("utf-8", "surrogatepass"),
                           digest_size=8).digest()
