"""One update of a true batch, and what it is compared with: all graphs at once, two processes."""

import dataclasses
import math
import os
import subprocess
import sys

import sertools  # noqa: F401
import torch
from sertools.brains.distributed import Ranks
from sertools.brains.numerics import Guard
from sertools.brains.true_batch import passes


def update_of(trainer, work, ready=None, seconds=math.inf, precision="fp32", **changes):
    """Return the gradients of one update over all 16 utterances, and the loss that was logged.

    Args:
        trainer: makes the trainer from `changes`.
        work: the unit.
        ready: called with brain and batch instead of `fit_batch`; what it returns is returned.
        seconds: of sound per pass.
        precision: fp32 or bf16.
        changes: options of the trainer.
    """
    work = dataclasses.replace(work, precision=precision)
    made = trainer(batch=16, batch_seconds=seconds, epochs=1, clip=None, **changes)
    ranks, task = Ranks(), made._task(work)
    inputs = made._inputs(work, ranks)
    dataset = inputs.dataset(work.train, task.targets(work.manifest, work.train), True)
    loader = made._loader(dataset, True, work, "cpu", ranks)
    model = made._model(work, task, inputs)
    brain = made._brain(inputs)(
        model, work, "cpu", ranks, made.options, made.schedule, made._optimizer, task=task)
    brain.optimizer = made._optimizer(model)
    brain.seconds = dict(zip(dataset.ids, dataset.seconds, strict=True))
    brain._batches, found = 1, {}
    brain.guard = Guard(ranks, work.folder, 0, work.say, lazily=False)
    brain.optimizers_step = lambda: found.update(
        {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    brain.between_steps = lambda: None
    (batch,) = loader
    torch.manual_seed(11)
    model.train()
    if ready is not None:
        return ready(brain, batch)
    brain.fit_batch(batch)
    return found, brain.sums.running_loss()


def all_graphs_at_once(brain, batch):
    """Keep the graphs of all passes, join what they found, and let autograd do the rest."""
    parts = list(passes(batch, brain.samples))
    assert len(parts) > 2
    found = []
    for part in parts:
        with brain.training_ctx:
            found.append(brain.found(part, brain.raw_model, part is parts[-1]))
    rows = [torch.cat(each) for each in zip(*(each.rows for each in found), strict=True)]
    loss = brain.update_loss([each.float() for each in rows], found[-1].shared, batch.targets)
    loss.backward()
    return {n: p.grad for n, p in brain.raw_model.named_parameters() if p.grad is not None}, loss


def assert_equal_gradients(found, wanted):
    """Compare gradients that differ by the order of sums at most."""
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        scale = gradient.abs().max() + 1e-12
        assert (found[name] - gradient).abs().max() / scale < 1e-5, name


def assert_close_gradients(found, wanted):
    """Compare gradients that other padding or batch mates went through."""
    for name, gradient in wanted.items():
        limit = 1e-4 * float(gradient.abs().max()) + 1e-7
        assert torch.allclose(found[name], gradient, atol=limit), name


def run_on_two(script, *arguments):
    """Run a script in two processes of one training; its last argument is their number."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
               str(script), *map(str, arguments), "2"]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=280,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
