"""Write results.json, RESULTS.md and report.html; equal results give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sertools.files import write_json, write_text
from sertools.report.html import page
from sertools.report.markdown import one_experiment


def write_report(results: dict[str, Any], folder: str | Path) -> list[Path]:
    """Publish RESULTS.md, results.json and report.html in `folder` and return their paths.

    Args:
        results: what `aggregate` returned, or a results.json read again.
        folder: created if it does not exist.
    """
    folder = Path(folder)
    return [
        write_text(folder / "RESULTS.md", one_experiment(results)),
        write_json(folder / "results.json", results),
        write_text(folder / "report.html", page(results)),
    ]
