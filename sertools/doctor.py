"""Look at the environment and say in words what is wrong with it and how to mend it."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass, field

REINSTALL = "run `make install`, or `python -m pip install -r requirements.txt`"


@dataclass
class Report:
    """What the examination found: facts in reading order, faults with their remedies."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    faults: list[tuple[str, str]] = field(default_factory=list)

    def fact(self, name: str, value: object) -> None:
        self.facts.append((name, str(value)))

    def fault(self, what: str, remedy: str) -> None:
        self.faults.append((what, remedy))


def examine() -> Report:
    """Return facts and faults of this interpreter, its packages and its devices."""
    report = Report()
    report.fact("python", f"{platform.python_version()} ({sys.executable})")
    report.fact("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores")
    report.fact("disk free here", f"{shutil.disk_usage('.').free / 2**30:.0f} GiB")
    _packages(report)
    if torch := _importable(report, "torch"):
        _devices(report, torch)
        _torchaudio(report)
        _importable(report, "speechbrain")
    if soundfile := _importable(report, "soundfile"):
        formats = soundfile.available_formats()
        for name in ("WAV", "FLAC"):
            if name not in formats:
                report.fault(f"soundfile cannot read {name}", "install the `soundfile` wheel, which"
                             " brings its own libsndfile")
    return report


def _packages(report: Report) -> None:
    """Compare what is installed with what the package's own metadata asks for."""
    from packaging.requirements import Requirement

    for line in importlib.metadata.requires("sertools") or []:
        need = Requirement(line)
        if need.marker is not None and not need.marker.evaluate({"extra": ""}):
            continue
        try:
            version = importlib.metadata.version(need.name)
        except importlib.metadata.PackageNotFoundError:
            report.fault(f"{need.name} is not installed", REINSTALL)
            continue
        report.fact(need.name, version)
        if not need.specifier.contains(version, prereleases=True):
            report.fault(f"{need.name} {version} is installed, but {need} is needed", REINSTALL)


def _importable(report: Report, name: str):
    """Import a package; a failure becomes a fault, whatever its kind."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken binary raises anything from ImportError to RuntimeError
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        report.fault(f"`import {name}` fails: {first}", REINSTALL)
        return None


def _devices(report: Report, torch) -> None:
    report.fact("torch build", f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU only")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(number)
            bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16: use precision: fp32"
            memory = f"{card.total_memory / 2**30:.0f} GiB"
            report.fact(f"GPU {number}", f"{card.name}, {memory}, {bf16}")
    else:
        report.fact("GPU", "none that torch can use")
        if shutil.which("nvidia-smi") and torch.version.cuda is None:
            report.fault(
                "an NVIDIA driver is present, but torch is a CPU build",
                "install the CUDA build: `pip install --force-reinstall torch==2.13.0` from the"
                " default package index",
            )
        elif shutil.which("nvidia-smi"):
            report.fault(
                f"torch is built for CUDA {torch.version.cuda}, but finds no usable GPU",
                "compare with the CUDA release that `nvidia-smi` prints; update the driver",
            )
    flags = _cpu_flags()
    fast = "with fast bf16" if flags & {"amx_bf16", "avx512_bf16"} else "bf16 is slow here"
    report.fact("CPU threads", f"{torch.get_num_threads()}, {fast}")


def _torchaudio(report: Report) -> None:
    from sertools import _torchaudio_guard

    if _importable(report, "torchaudio") is None:
        return
    reason = _torchaudio_guard.reason
    report.fact(
        "torchaudio's extension",
        "works" if reason is None else f"left out, which is fine: nothing here needs it ({reason})",
    )


def _cpu_flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return set(next((line for line in file if line.startswith("flags")), "").split())
    except OSError:
        return set()


def main() -> int:
    """Print the report; return 0 if nothing is wrong, else 2."""
    report = examine()
    width = max(len(name) for name, _ in report.facts)
    for name, value in report.facts:
        print(f"{name:<{width}}  {value}")
    print()
    for what, remedy in report.faults:
        print(f"WRONG: {what}\n       To mend it: {remedy}.")
    if not report.faults:
        print("Nothing is wrong with this environment.")
    return 2 if report.faults else 0
