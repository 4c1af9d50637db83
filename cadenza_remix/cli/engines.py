"""The command that makes environments for packages that cannot share ours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cadenza_remix.cli.models import models
from cadenza_remix.console import tell
from cadenza_remix.errors import unknown_name

ENGINES = ("deezer",)


@models.command("engine")
def models_engine(
    name: Annotated[str, typer.Argument(help="deezer: Deezer's spleeter 2.4.2 with TensorFlow 2.12.")],
    python: Annotated[
        Path | None, typer.Option("--python", help="A Python 3.9 to 3.11 to make it from; the running one by default.")
    ] = None,
) -> None:
    """Make an environment for a package that cannot share ours (2.4 GB, some minutes, needs a package index)."""
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    from cadenza_remix.separation.borrowed.deezer import deezer_names
    from cadenza_remix.separation.borrowed.deezer_engine import make_engine
    from cadenza_remix.separation.models.store import default_home

    engine = make_engine(default_home(), python=python, notify=tell)
    tell(f"{name} is installed: {engine.python.parents[1]}")
    tell(f"Separators that run in it, by the weights of `models fetch spleeter:...`: {', '.join(deezer_names())}")
