"""What has become of each unit of a shard while it is worked on: counted here, told to the journal and to people."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from cadenza_remix.runs.shards.journal import MAX_ATTEMPTS, Journal
from cadenza_remix.runs.shards.plan import Unit

Bundle = tuple[Unit, ...]
"""Units that one worker does one after the other."""


class Ledger:
    """Counts units and writes the journal, from one thread.

    Parameters
    ----------
    journal : Journal
    units : sequence of Unit
        Of the shard.
    attempts : mapping of str to int
        How often units (by name) failed before in this round.
    notify : callable
        Gets a line for each thing that somebody should know.
    on_unit : callable
        Called with each unit that came to an end, good or bad.
    """

    def __init__(
        self,
        journal: Journal,
        units: Sequence[Unit],
        attempts: Mapping[str, int],
        *,
        notify: Callable[[str], None],
        on_unit: Callable[[Unit], object] = lambda unit: None,
    ) -> None:
        self.notify = notify
        self._on_unit = on_unit
        self._journal = journal
        self._n_units = len(units)
        self._attempts = dict(attempts)
        self._ends: dict[Unit, str] = {}

    def count(self, end: str) -> int:
        """Return how many units came to an end: "done", "found", "aside" or "blocked"."""
        return sum(found == end for found in self._ends.values())

    @property
    def n_left(self) -> int:
        """Return how many units came to none."""
        return self._n_units - len(self._ends)

    def attempts(self, unit: Unit) -> int:
        """Return how often a unit has failed in this round."""
        return self._attempts.get(unit.name, 0)

    def begin(self, unit: Unit) -> None:
        self._journal.begin(unit.name)

    def done(self, unit: Unit, seconds: float) -> None:
        self._journal.done(unit.name, seconds)
        self._end(unit, "done")

    def found(self, unit: Unit) -> None:
        self._journal.found(unit.name)
        self._end(unit, "found")

    def dropped(self, unit: Unit, why: str) -> None:
        self._journal.dropped(unit.name, why)

    def blocked(self, units: Iterable[Unit], error: str) -> None:
        """Note units that cannot be begun."""
        for unit in units:
            self._journal.blocked(unit.name, error)
            self._end(unit, "blocked")

    def aside(self, bundle: Bundle, error: str) -> None:
        """Set the first unit of what is left of a bundle aside; the others need it."""
        unit, *behind = bundle
        self._journal.aside(unit.name, error)
        self._end(unit, "aside")
        self.notify(f"{unit.name} is set aside: {_last_line(error)}")
        self.blocked(behind, f"{unit.name} was set aside")

    def failed(self, bundle: Bundle, error: str, kind: str) -> bool:
        """Note a failure of the first unit of what is left of a bundle; tell whether it may be tried again."""
        unit = bundle[0]
        attempt = self._attempts[unit.name] = self.attempts(unit) + 1
        self._journal.failed(unit.name, error, kind, attempt)
        self.notify(f"{unit.name} failed ({attempt} of {MAX_ATTEMPTS}): {_last_line(error)}")
        if attempt < MAX_ATTEMPTS:
            return True
        self.aside(bundle, error)
        return False

    def _end(self, unit: Unit, end: str) -> None:
        self._ends[unit] = end
        self._on_unit(unit)


def _last_line(text: str) -> str:
    """Return the line of a traceback that says what happened."""
    return text.strip().rsplit("\n", 1)[-1]
