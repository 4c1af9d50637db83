"""What every parity script prints: a table of differences against their limits, and an exit status."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """One comparison with a reference implementation: ``difference`` must not exceed ``limit``."""

    what: str
    difference: float
    limit: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return math.isfinite(self.difference) and self.difference <= self.limit


def report(title: str, checks: list[Check]) -> int:
    """Print the table; return 0 when every check passed, 1 otherwise (also when there was nothing to check)."""
    width = max([len(check.what) for check in checks], default=10)
    print(f"\n{title}")
    print(f"  {'check':<{width}}  {'difference':>10}  {'limit':>8}  result  note")
    for check in checks:
        verdict = "ok" if check.passed else "MISS"
        print(f"  {check.what:<{width}}  {check.difference:>10.2e}  {check.limit:>8.0e}  {verdict:<6}  {check.note}")
    missed = sum(not check.passed for check in checks)
    print(f"  {len(checks) - missed} of {len(checks)} within their limits")
    return int(missed > 0 or not checks)
