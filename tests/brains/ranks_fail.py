"""Run on two ranks: whatever fails on one must stop both, and leave nothing half written."""

import os
import sys
from pathlib import Path

import sertools  # noqa: F401
import torch
from sertools.brains.checkpoints import AtomicCheckpointer
from sertools.brains.distributed import Ranks
from sertools.errors import UserError


class FailsOnRank1:
    def save(self, path):
        if ranks.rank == 1:
            raise OSError("disk full on rank 1")
        path.write_text("fine")

    def load(self, path):
        raise AssertionError("never written")


class FailsOnRank0:
    def state_dict(self):
        return {"weight": torch.tensor(float("nan"))}


ranks = Ranks.start("cpu", int(os.environ["RANK"]), 2)
for number, (kind, obj) in enumerate({"per_rank": FailsOnRank1(), "json": FailsOnRank0()}.items()):
    folder = Path(sys.argv[1]) / str(number)
    checkpointer = AtomicCheckpointer(folder, ranks, say=lambda text: None)
    if kind == "json":
        checkpointer.add_recoverable("model", obj)
    else:
        checkpointer.add_per_rank("state", obj)
    try:
        checkpointer.save_checkpoint()
    except (OSError, UserError):
        pass
    else:
        raise AssertionError("the failure was lost")
    ranks.gather(None)
    assert list(folder.iterdir()) == [], list(folder.iterdir())
    assert checkpointer.recover_if_possible() is None
print("both stopped\n", end="", flush=True)
