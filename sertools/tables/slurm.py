"""Runs as jobs of Slurm, through submitit (`pip install 'sertools[slurm]'`)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.files import read_json, write_json
from sertools.recipe.lock import Lock
from sertools.tables.launch import INTERRUPTED, open_log
from sertools.tables.tasks import Task

TIMES = 100
"""How often a job whose time is over is put back into the queue."""
LOOK = 10.0
"""Seconds between two looks at the queue."""
LATE = 20.0
"""Seconds that the result of a job that left the queue may take to show on a network's disk."""
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL",
         "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT")
"""States of jobs that Slurm still lists but that are over."""


@dataclass
class Settings:
    """What Slurm is asked for, per run."""

    partition: str | None = None
    minutes: int = 24 * 60
    """Longest time of one job; a run that needs more is put back into the queue and goes on."""
    gpus: int = 1
    cpus: int = 8
    more: dict[str, str] = field(default_factory=dict)
    """Further parameters of sbatch, such as account; they take precedence."""
    cluster: str = "slurm"
    """slurm, or local for processes of submitit on this machine."""


class Work:
    """What a job does: one run, saved and put back into the queue when its time is over."""

    def __init__(self, task: Task):
        self.task = task
        self.process: subprocess.Popen | None = None

    def __call__(self) -> int:
        """Run to the end and return the exit code."""
        with open_log(self.task) as log:
            self.process = subprocess.Popen(
                self.task.argv, cwd=self.task.folder, stdout=log, stderr=subprocess.STDOUT,
                # Slurm's warning reaches every process of a job; it must not kill this one.
                preexec_fn=lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN))
        return self.process.wait()

    def checkpoint(self) -> Any:
        """Save and return what goes on; called by submitit before the job ends."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            self.process.terminate()
            # A signal's handler: `wait` would wait for the lock of the `wait` that it interrupts.
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(Work(self.task))


@dataclass
class Job:
    """A job in the queue or running."""

    job: Any
    record: Path
    queue: Queue
    gone: float | None = None
    """Since when it has not been in the queue, without a result."""

    @property
    def name(self) -> str:
        """Return "job 17"."""
        return f"job {self.job.job_id}"

    def poll(self) -> int | None:
        """Return the exit code of its run, or None while it waits or runs."""
        if self.job.paths.result_pickle.exists():
            try:
                code = self.job.result()
            except Exception:  # whatever submitit could not bring back
                return self._lost("failed")
            if code == INTERRUPTED and self.queue.state(self.job):  # it was put back, and goes on
                return None
            self._forget()
            return code
        if self.queue.state(self.job):
            self.gone = None
            return None
        self.gone = self.gone or time.monotonic()
        if time.monotonic() - self.gone < LATE:
            return None
        return self._lost(self.queue.last(self.job))

    def stop(self, at_once: bool) -> bool:
        """Leave it in the queue."""
        return False

    def _lost(self, state: str) -> int:
        told = b""
        with contextlib.suppress(OSError):
            told = self.job.paths.stderr.read_bytes()[-4000:]
        with contextlib.suppress(OSError), open(self.record.with_suffix(".log"), "ab") as log:
            log.write(told + f"\n{self.name} ended without a result: {state}\n".encode())
        self._forget()
        return 1

    def _forget(self) -> None:
        if number_of(self.record) == self.job.job_id:  # not of a job that came after it
            self.record.unlink(missing_ok=True)


def number_of(record: Path) -> str | None:
    """Return the number of the job that was submitted for a run; None if there is none."""
    try:
        return str(read_json(record)["job"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Queue:
    """Submits tasks, and finds the jobs that earlier calls submitted.

    Raises:
        ConfigError: submitit is not installed, or there is no Slurm here.
    """

    def __init__(self, settings: Settings):
        try:
            import submitit
        except ImportError as error:
            raise ConfigError("--slurm needs submitit, which is not installed",
                              remedy="pip install 'sertools[slurm]'") from error
        self.submitit, self.settings = submitit, settings
        self.here = settings.cluster != "slurm"
        self._states: dict[str, str] | None = None
        """Job -> state, as the queue was seen last; None: not seen."""
        self._looked = float("-inf")
        try:
            submitit.AutoExecutor(folder=os.devnull + "-%j", cluster=settings.cluster)
        except (RuntimeError, OSError) as error:
            raise ConfigError(f"--slurm: {error}",
                              remedy="start it where sbatch and srun are there") from error

    def start(self, task: Task, gpu: str | None) -> Job:
        """Submit a task, unless another call has just done so.

        Raises:
            ConfigError: Slurm takes no such job.
        """
        record = record_of(task.log)
        turn = Lock(task.log.parent / ".submit")
        turn.acquire(wait=True)
        try:
            found = self.follow(task)
            if found is None:
                found = Job(self._submit(task), record, self)
                write_json(record, {"job": found.job.job_id})
                self._looked = float("-inf")
            return found
        finally:
            turn.release()

    def follow(self, task: Task) -> Job | None:
        """Return the job of a task while it is in the queue."""
        number = None if self.here else number_of(record_of(task.log))
        if number is None:
            return None
        job = self.submitit.SlurmJob(folder=folder_of(task), job_id=number, tasks=[0])
        return Job(job, record_of(task.log), self) if self.state(job) else None

    def holds(self, log: Path) -> bool:
        """Return whether the job of the run with this log is in the queue."""
        number = None if self.here else number_of(record_of(log))
        return number is not None and self._state(number) is not None

    def state(self, job: Any) -> str | None:
        """Return how a job stands in the queue; None if it is not in it."""
        if self.here:
            return None if job.done() else "RUNNING"
        return self._state(job.job_id)

    def last(self, job: Any) -> str:
        """Return how a job that left the queue stood there last."""
        return (self._states or {}).get(job.job_id, "it is no longer in the queue")

    def _state(self, number: str) -> str | None:
        # Not sacct, which submitit asks: many a Slurm keeps no accounts, or answers late.
        if time.monotonic() - self._looked >= LOOK:
            self._states, self._looked = listed(), time.monotonic()
        if self._states is None:
            return "UNKNOWN"  # Slurm's controller does not answer: it may well be there
        found = self._states.get(number)
        return None if found in ENDED else found

    def _submit(self, task: Task) -> Any:
        settings = self.settings
        executor = self.submitit.AutoExecutor(folder=folder_of(task), cluster=settings.cluster,
                                              slurm_max_num_timeout=TIMES)
        executor.update_parameters(
            name=task.run.config[:40], timeout_min=settings.minutes,
            gpus_per_node=settings.gpus, cpus_per_task=settings.cpus, tasks_per_node=1,
            nodes=1, **({"slurm_partition": settings.partition} if settings.partition else {}),
            **({"slurm_additional_parameters": settings.more} if settings.more else {}))
        try:
            return executor.submit(Work(task))
        except (self.submitit.core.utils.FailedJobError, OSError) as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise ConfigError("Slurm does not take the job", lines,
                              "--slurm-option KEY=VALUE says what sbatch is asked for, such as "
                              "gpus_per_node=0 or account=lab; --jobs N submits N at a time"
                              ) from error


def record_of(log: Path) -> Path:
    """Return where the number of a run's job is kept."""
    return log.with_suffix(".job")


def folder_of(task: Task) -> Path:
    """Return where submitit keeps what belongs to a task's job."""
    return task.log.parent / "slurm"


def listed() -> dict[str, str] | None:
    """Return job -> state of this user's jobs, with those that ended a short while ago."""
    command = ["squeue", "--noheader", "--states=all", "--format=%i %T", f"--user={os.getuid()}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return dict(line.split()[:2] for line in done.stdout.splitlines() if len(line.split()) > 1)
