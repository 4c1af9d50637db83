"""Score records as a summary: a data frame, a CSV file, a table on the screen.

Conventions: the columns of HAAQI run over the stems and, within a stem, left before right; ``score`` is the plain mean
of the eight; ``snr_db`` and ``sdr_db`` are plain means of the eight values in dB without those that are not defined
(the SNR of a stem that is silent in the reference). The chain named ``mixture`` is the unprocessed mixture in place of
every stem: what a listener has without this package, and always the first row of its group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cadenza_remix.atomic import atomic_path
from cadenza_remix.audio.signal import EARS, STEMS
from cadenza_remix.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console
    from rich.table import Table

UNPROCESSED_CHAIN = "mixture"
UPPER_BOUND_CHAIN = "clean"
"""Clean stems with NAL-R: what a perfect separation would score."""
STEM_COLUMNS = tuple(f"{ear}_{stem}" for stem in STEMS for ear in EARS)
MEAN_COLUMNS = ("score", "snr_db", "sdr_db")
KEY_COLUMNS = ("listener", "song", "chain")
_WIDE_COLUMNS = 104
SUMMARY_COLUMNS = KEY_COLUMNS + STEM_COLUMNS + MEAN_COLUMNS


def record_of(results: Mapping[str, Any], chain: str) -> dict[str, Any]:
    """Return the results of a scored pair in the form that `summary_frame` takes."""
    scores = dict(results)
    metrics = {name: scores.pop(name) for name in ("haaqi", "snr_db", "sdr_db")}
    return {"chain": chain, **scores, "metrics": metrics}


def summary_frame(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return one row per listener, song and chain.

    Parameters
    ----------
    records : iterable of mappings
        Each holds ``chain``, ``song``, ``listener``, ``score`` (the mean HAAQI) and ``metrics``, in which ``haaqi``,
        and where they were computed ``snr_db`` and ``sdr_db``, map ``<ear>_<stem>`` to a number; None stands for a
        value that is not defined.

    Returns
    -------
    pandas.DataFrame
        Columns `SUMMARY_COLUMNS`. Rows sorted by listener and song; within them ``mixture`` first, then the chains in
        the order in which they first come up. Means over values none of which is defined are NaN.

    Raises
    ------
    InputError
        No records, a field is missing or no number, two records of one listener, song and chain.

    Examples
    --------
    >>> haaqi = {column: 0.5 for column in STEM_COLUMNS}
    >>> record = {"chain": "e016", "song": "s", "listener": "L1", "metrics": {"haaqi": haaqi}, "score": 0.5}
    >>> float(summary_frame([record])["score"].iloc[0])
    0.5
    """
    import pandas as pd

    rows = [_row(record) for record in records]
    if not rows:
        raise InputError("no score records to summarise", expected="at least one")
    frame = pd.DataFrame(rows, columns=list(SUMMARY_COLUMNS))
    twice = frame[frame.duplicated(list(KEY_COLUMNS))]
    if len(twice):
        raise InputError(
            "two score records of one listener, song and chain",
            expected="one",
            found=", ".join(str(twice.iloc[0][key]) for key in KEY_COLUMNS),
        )
    rank = {chain: place for place, chain in enumerate(chain_order(frame))}
    frame["_rank"] = frame["chain"].map(rank)
    frame = frame.sort_values(["listener", "song", "_rank"], kind="stable").drop(columns="_rank")
    return frame.reset_index(drop=True)


def chain_order(frame: pd.DataFrame) -> list[str]:
    """Return the names of the chains by first appearance, but ``mixture`` first and ``clean`` last."""
    names = [str(name) for name in frame["chain"].unique()]
    return sorted(names, key=lambda name: (name != UNPROCESSED_CHAIN) + (name == UPPER_BOUND_CHAIN))


def mean_over_songs(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per listener and chain: the means over the songs, undefined values left out, order kept."""
    numbers = [*STEM_COLUMNS, *MEAN_COLUMNS]
    means = frame.groupby(["listener", "chain"], sort=False)[numbers].mean().reset_index()
    rank = {chain: place for place, chain in enumerate(chain_order(frame))}
    order = means["chain"].map(rank).sort_values(kind="stable").index
    return means.loc[order].sort_values("listener", kind="stable").reset_index(drop=True)


def write_summary_csv(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a frame of `summary_frame` as CSV with six decimals, whole or not at all; undefined values stay empty.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n", encoding="utf-8")


def print_summary(frame: pd.DataFrame, console: Console) -> None:
    """Print a frame of `summary_frame` as a table: three decimals on 104 columns or more, two on a narrower console.

    One row per listener and chain (means over the songs), and the means over the listeners where there are several. The
    chain of the highest mean HAAQI of each listener is set in bold and marked with a star.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    n_songs, n_listeners = frame["song"].nunique(), frame["listener"].nunique()
    which = str(frame["song"].iloc[0]) if n_songs == 1 else f"mean of {n_songs} songs"
    narrow = console.width < _WIDE_COLUMNS
    table = Table(
        title=f"HAAQI (0 to 1) per stem, left and right ear: {escape(which)}",
        caption=" ".join(_legend(frame)),
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0) if narrow else (0, 1),
    )
    if not narrow:
        table.add_column("listener", overflow="fold")
    table.add_column("chain", overflow="fold", min_width=12)
    for stem in STEMS:
        table.add_column(f"{stem}\nleft right", justify="right", no_wrap=True)
    for heading in ("mean\nHAAQI", "SNR\ndB", "SDR\ndB"):
        table.add_column(heading, justify="right", no_wrap=True)
    means = mean_over_songs(frame)
    for listener in means["listener"].unique():
        _add_section(table, str(listener), means[means["listener"] == listener], narrow=narrow)
    if n_listeners > 1:
        numbers = [*STEM_COLUMNS, *MEAN_COLUMNS]
        overall = means.groupby("chain", sort=False)[numbers].mean().loc[chain_order(means)].reset_index()
        _add_section(table, "all", overall, narrow=narrow)
    console.print(table)


def _legend(frame: pd.DataFrame) -> list[str]:
    chains = set(frame["chain"])
    legend = ["* highest mean HAAQI;"] if len(chains) > 1 else []
    legend += ["mixture: unprocessed;"] if UNPROCESSED_CHAIN in chains else []
    legend += ["clean: clean stems + NAL-R (upper bound);"] if UPPER_BOUND_CHAIN in chains else []
    return [*legend, "SNR, SDR: mean of the stems"]


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    where = "score record"
    try:
        row: dict[str, Any] = {key: str(record[key]) for key in KEY_COLUMNS}
        where = "score record of " + ", ".join(row.values())
        haaqi = record["metrics"]["haaqi"]
        row.update({column: _number(haaqi[column], column, where) for column in STEM_COLUMNS})
        row["score"] = _number(record["score"], "score", where)
        for name in ("snr_db", "sdr_db"):
            values = record["metrics"].get(name)
            row[name] = _mean([_number(values[column], name, where) for column in STEM_COLUMNS] if values else [])
    except KeyError as error:
        raise InputError("a field is missing", where=where, expected=error.args[0]) from None
    return row


def _number(value: Any, name: str, where: str) -> float:
    if value is None:
        return float("nan")
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"{name} is no number", where=where, expected="a number or null", found=repr(value)) from None


def _mean(values: list[float]) -> float:
    defined = [value for value in values if value == value]
    return sum(defined) / len(defined) if defined else float("nan")


def _shown(value: float, decimals: int) -> str:
    return "-" if value != value else f"{value:.{decimals}f}"


def _add_section(table: Table, name: str, rows: pd.DataFrame, *, narrow: bool) -> None:
    from rich.markup import escape

    systems = rows[~rows["chain"].isin([UNPROCESSED_CHAIN, UPPER_BOUND_CHAIN])]
    compared = len(rows) > 1 and systems["score"].notna().any()
    best = systems["score"].idxmax() if compared else None
    decimals = 2 if narrow else 3
    if narrow:
        table.add_row(escape(name), style="italic")
    for place, (index, row) in enumerate(rows.iterrows()):
        cells = [f"{_shown(row[f'left_{stem}'], decimals)} {_shown(row[f'right_{stem}'], decimals)}" for stem in STEMS]
        cells += [_shown(row["score"], 3), _shown(row["snr_db"], 1), _shown(row["sdr_db"], 1)]
        chain = escape(f"{row['chain']} *" if index == best else str(row["chain"]))
        labels = [f"  {chain}"] if narrow else [escape(name) if place == 0 else "", chain]
        table.add_row(*labels, *cells, style="bold" if index == best else "", end_section=place == len(rows) - 1)
