"""Runs as jobs of Slurm, through submitit (`pip install 'sertools[slurm]'`)."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sertools.errors import ConfigError
from sertools.files import read_json, write_json
from sertools.tables.launch import open_log
from sertools.tables.tasks import Task


@dataclass
class Settings:
    """What Slurm is asked for, per run."""

    partition: str | None = None
    minutes: int = 24 * 60
    """Longest time of one job; a run that needs more is put back into the queue and goes on."""
    gpus: int = 1
    cpus: int = 8
    more: dict[str, str] = field(default_factory=dict)
    """Further parameters of sbatch, such as account."""
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
            self.process.wait()
        return DelayedSubmission(Work(self.task))


@dataclass
class Job:
    """A job in the queue or running."""

    job: Any
    record: Path

    def poll(self) -> int | None:
        """Return the exit code of its run, or None while it waits or runs."""
        if not self.job.done():
            return None
        self.record.unlink(missing_ok=True)
        try:
            return self.job.result()
        except Exception:  # whatever submitit could not bring back
            with contextlib.suppress(OSError), open(self.job.paths.stderr, "rb") as told, \
                    open(self.record.with_suffix(".log"), "ab") as log:
                log.write(told.read()[-4000:])
            return 1

    def stop(self, at_once: bool) -> bool:
        """Leave it in the queue."""
        return False


class Queue:
    """Submits tasks.

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
        try:
            submitit.AutoExecutor(folder=os.devnull + "-%j", cluster=settings.cluster)
        except (RuntimeError, OSError) as error:
            raise ConfigError(f"--slurm: {error}",
                              remedy="start it where sbatch and srun are there") from error

    def start(self, task: Task, gpu: str | None) -> Job:
        """Submit a task, or find the job that an earlier call submitted."""
        folder, record = task.log.parent / "slurm", task.log.with_suffix(".job")
        found = self._found(record, folder)
        if found is None:
            settings = self.settings
            executor = self.submitit.AutoExecutor(folder=folder, cluster=settings.cluster)
            executor.update_parameters(
                name=task.run.config[:40], timeout_min=settings.minutes,
                gpus_per_node=settings.gpus, cpus_per_task=settings.cpus, tasks_per_node=1,
                nodes=1, **({"slurm_partition": settings.partition} if settings.partition else {}),
                **({"slurm_additional_parameters": settings.more} if settings.more else {}))
            found = executor.submit(Work(task))
            write_json(record, {"job": found.job_id})
        return Job(found, record)

    def _found(self, record: Path, folder: Path) -> Any:
        """Return the job of a record while it is in the queue."""
        try:
            number = str(read_json(record)["job"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if self.settings.cluster != "slurm":
            return None
        job = self.submitit.SlurmJob(folder=folder, job_id=number, tasks=[0])
        return None if job.done() else job
