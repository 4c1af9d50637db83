"""What every benchmark prints: the machine, the versions, Markdown tables; and the file that keeps them."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path


class Report:
    """Lines that are printed at once and can be kept as a Markdown file with the command that made them."""

    def __init__(self, title: str, *, packages: Sequence[str]) -> None:
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
        command = shlex.join([Path(sys.executable).name, *sys.argv])
        self._lines: list[str] = []
        self.add(f"# {title}\n")
        self.add(f"`{command}`\n")
        self.add(f"{processor_name()}, Python {platform.python_version()}, {versions}\n")

    def add(self, line: str = "") -> None:
        """Add a line or a paragraph."""
        print(line, flush=True)
        self._lines.append(line)

    def table(self, caption: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table, its columns as wide as what stands in them."""
        widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
        self.add(f"{caption}:\n")
        for cells in (columns, ["-" * width for width in widths], *rows):
            self.add("| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |")
        self.add()

    def finish(self, out: Path | None) -> None:
        """Write everything to a file, where one is given."""
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.write_text("\n".join(self._lines).rstrip() + "\n", encoding="utf-8")


def processor_name() -> str:
    """Return the name of the processor and how many of them this machine has."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.processor() or platform.machine()
