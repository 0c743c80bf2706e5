"""A full disk, said in words: what writes files says it in many ways."""

from __future__ import annotations

import errno

from sertools.errors import DataError

FULL = (errno.ENOSPC, errno.EDQUOT)
SAID = ("No space left on device", "Disk quota exceeded",  # safetensors has the words alone
        "unexpected pos")  # all that torch.save says of a write that failed


def full_disk(error: BaseException) -> DataError | None:
    """Return what to tell the user if an error, or one that led to it, is that of a full disk."""
    chain: BaseException | None = error
    while chain is not None:
        known = isinstance(chain, OSError) and chain.errno in FULL
        if known or any(words in str(chain) for words in SAID):
            return DataError(
                "a file could not be written: the disk is full, or a quota is used up",
                [str(chain)],
                "make room (df shows where), or name other places with --data-dir, --dump-dir "
                "and --exp-dir; then run the same command: what was finished before is kept")
        chain = chain.__cause__ or chain.__context__
    return None
