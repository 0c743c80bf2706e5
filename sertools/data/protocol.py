"""Protocols: which utterances train, select and test a model, and what that split gives away.

`Folds` is a recipe's declaration, `make_folds` carries it out, `flags_of` looks at the outcome and
says in words what is shared that should not be. Under `clean` the dev part never shares a speaker
(or session) with the training part as long as the corpus has enough of them; `paper` follows what
the authors did, and the flags say what that was.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from sertools.data.flags import flags_of, notes_of
from sertools.data.folds import PROTOCOLS, Folds, FoldSet, protocol_name
from sertools.data.record import Record, has_target
from sertools.data.splitters import Splitter
from sertools.errors import ConfigError, DataError


def make_folds(
    records: Mapping[str, Record] | Iterable[Record],
    folds: Folds,
    protocol: str = "clean",
    base: str | Path = ".",
) -> FoldSet:
    """Divide the labelled records into folds named "1".."K", and say what the folds leak.

    The same records, whatever their order, give the same folds on every machine.

    Args:
        records: a manifest.
        folds: what the recipe declares.
        protocol: `clean` or `paper`.
        base: what a relative `folds.folder` is relative to.

    Raises:
        ConfigError: the protocol is unknown, or the folds do not fit the corpus.
        DataError: the corpus lacks what the folds need.
    """
    if protocol not in PROTOCOLS:
        raise ConfigError(f"protocol: {protocol!r} is unknown", remedy="use clean or paper")
    name = protocol_name(folds, protocol)
    if protocol == "paper" and folds.paper is not None:
        folds = folds.paper
    records = list(records.values() if isinstance(records, Mapping) else records)
    labelled = {record.id: record for record in sorted(records, key=lambda record: record.id)
                if has_target(record)}
    if not labelled:
        raise DataError("no utterance has a label, so there is nothing to divide into folds")
    splitter = Splitter(labelled, folds, protocol, Path(base))
    made = splitter.split()
    unknown = [folds.paper_flag] if protocol == "paper" and folds.paper_flag else []
    return FoldSet(name, protocol, made,
                   [*flags_of(made, labelled), *splitter.flags, *unknown],
                   [*splitter.notes, *notes_of(made, labelled, len(records))])
