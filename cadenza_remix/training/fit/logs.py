"""What a training writes of its course: a CSV table, and events for TensorBoard."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cadenza_remix.atomic import make_folder, write_text, writing_failed
from cadenza_remix.errors import InputError, MissingDependencyError


class CsvLog:
    """A table with a line now and then; a resumed training goes on behind the line of its step.

    Parameters
    ----------
    path : Path
    columns : sequence of str
        The first is ``step``.
    first_step : int
        Lines of later steps are of a part of the run that is lost, and are taken out.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, first_step: int) -> None:
        self._path, self._columns = path, list(columns)
        kept = [row for row in read_log(path) if int(row["step"]) <= first_step] if path.exists() else []
        write_text(path, "".join(map(self._line, [dict(zip(columns, columns, strict=True)), *kept])))

    def write(self, row: Mapping[str, object]) -> None:
        """Add a line; what is missing in it stays empty."""
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(self._line(row))
        except OSError as error:
            raise writing_failed(self._path, error) from error

    def _line(self, row: Mapping[str, object]) -> str:
        text = io.StringIO()
        values = (row.get(column, "") for column in self._columns)
        csv.writer(text, lineterminator="\n").writerow(
            f"{value:.7g}" if isinstance(value, float) else value for value in values
        )
        return text.getvalue()


def read_log(path: Path) -> list[dict[str, str]]:
    """Return the lines of a table; one that a killed process did not finish is left out.

    Raises
    ------
    InputError
        It is no such table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("cannot be read as a log of training", where=path, found=error) from error
    return [row for row in rows if None not in row.values() and (row.get("step") or "").isdecimal()]


class TensorBoardLog:
    """Scalars for TensorBoard, written by its own package.

    Raises
    ------
    MissingDependencyError
        It is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.compat.proto.event_pb2 import Event
            from tensorboard.compat.proto.summary_pb2 import Summary
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise MissingDependencyError(
                f"logs.tensorboard needs a package that is not installed: tensorboard ({error})"
            ) from error
        self._event: Any = Event
        self._summary: Any = Summary
        self._writer: Any = EventFileWriter(str(make_folder(folder)))

    def write(self, row: Mapping[str, object]) -> None:
        """Add the numbers of a line at its step."""
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float) and name != "step"}
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        event = self._event(wall_time=time.time(), step=row["step"], summary=self._summary(value=values))
        self._writer.add_event(event)

    def close(self) -> None:
        self._writer.close()
