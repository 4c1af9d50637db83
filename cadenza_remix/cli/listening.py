"""The listening room and listening tests: serve them, and tell where."""

from __future__ import annotations

import os
import shlex
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cadenza_remix.cli.options import open_separator
from cadenza_remix.cli.panel_analysis import analyse
from cadenza_remix.console import err, tell
from cadenza_remix.errors import CadenzaError, InputError, MissingDependencyError

if TYPE_CHECKING:
    import socket

    from fastapi import FastAPI

    from cadenza_remix.listen.library import Library
    from cadenza_remix.listen.panel.panel import Panel
    from cadenza_remix.listen.uploads import Uploads

_ROOM = "room"
_MOST_BYTES_OF_CLIPS = 1_000_000_000
_MOST_NAMES = 4


class _RoomFirst(typer.core.TyperGroup):
    """A group whose first argument need not be a command: what is none belongs to the room."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] != "--help" and args[0] not in self.commands:
            args = [_ROOM, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        room = self.commands[_ROOM]
        formatter.write_usage(ctx.command_path, "[RUN...] [OPTIONS]")
        for name, command in self.commands.items():
            if name != _ROOM:
                pieces = " ".join(command.collect_usage_pieces(command.make_context(name, [], resilient_parsing=True)))
                formatter.write_usage(f"{ctx.command_path} {name}", pieces, prefix="       ")
        inner = room.make_context(_ROOM, [], parent=ctx, resilient_parsing=True)
        room.format_help_text(inner, formatter)
        room.format_options(inner, formatter)
        self.format_commands(ctx, formatter)


listen = typer.Typer(
    name="listen",
    cls=_RoomFirst,
    help="Listen to results in a browser, or hold a listening test.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
listen.command()(analyse)


@listen.command(_ROOM, hidden=True)
def room_command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Folders of enhance, run or demo.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")] = 8765,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; 0.0.0.0 lets in everybody who can reach this machine.")
    ] = "127.0.0.1",
    references: Annotated[
        Path | None, typer.Option("--references", help="Folder of clean stems: <song>/vocals.wav ...")
    ] = None,
    music: Annotated[
        list[Path] | None,
        typer.Option("--music", help="A mixture, or a folder with mixture.wav; may be given again."),
    ] = None,
    separator: Annotated[
        str, typer.Option("--separator", help="For visitors' own songs: auto, cadenza:mini, ... (models list).")
    ] = "auto",
    uploads: Annotated[bool, typer.Option("--uploads/--no-uploads", help="Let visitors bring their own songs.")] = True,
    test: Annotated[
        Path | None, typer.Option("--test", help="A listening test, TEST.yaml; alone, or with the room beside it.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Where its answers go; TEST.sqlite beside TEST.yaml by default.")
    ] = None,
    add: Annotated[
        int | None,
        typer.Option(
            "--add-participants",
            min=1,
            max=100,
            metavar="N",
            show_default=False,
            help="Add so many participants to the test, print a link for each, and end; a server may run meanwhile.",
        ),
    ] = None,
    listener: Annotated[
        str | None,
        typer.Option("--listener", help="Whose hearing the added have: of the run, or N3, ...", show_default=False),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option("--label", help="Your own code for the added; several count up: P07, P08.", show_default=False),
    ] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line for each request.")] = False,
) -> None:
    """Listen to results in a browser, or hold a listening test; Ctrl-C ends it."""
    _check_packages()
    _check_adding(add, {"--listener": listener, "--label": label}, test=test, runs=runs)
    if not runs and test is None:
        raise InputError("nothing to listen to", where="listen", expected="RUN..., --test TEST.yaml, or both")
    if results is not None and test is None:
        raise InputError("belongs to a listening test", where="--results", expected="--test TEST.yaml with it")
    if add is not None and test is not None:
        from cadenza_remix.cli.listening_participants import add_participants

        add_participants(test, results, count=add, listener=listener, label=label, host=host, port=port)
        return
    from cadenza_remix.listen.app import create_app
    from cadenza_remix.listen.clips import ClipStore, RenderPool
    from cadenza_remix.listen.panel.panel import Panel
    from cadenza_remix.listen.serving import bind, temporary_folder

    with ExitStack() as stack:
        library = _library(runs, references, music or []) if runs else None
        bound = stack.enter_context(bind(host, port))
        folder = stack.enter_context(temporary_folder())
        clips = ClipStore(folder / "clips", max_bytes=_MOST_BYTES_OF_CLIPS)
        pool = RenderPool()
        stack.callback(pool.close, wait=True)  # before the folder goes into which it writes
        own_songs = _uploads(library, folder, separator) if library is not None and uploads else None
        if own_songs is not None:
            stack.callback(own_songs.close)
        panel = Panel.open(test, results, clips=clips) if test is not None else None
        if panel is not None:
            stack.callback(panel.close)
        app = create_app(library=library, clips=clips, uploads=own_songs, panel=panel, host=host, pool=pool)
        if library is not None:
            stack.enter_context(_warming_up(library))
        _serve(app, bound, host=host, has_room=library is not None, panel=panel, open_page=open_page, verbose=verbose)
        if panel is not None:
            tell(f"Answers: {panel.store.path} (cadenza-remix listen analyse {shlex.quote(str(panel.store.path))})")


def _check_adding(
    count: int | None, details: Mapping[str, str | None], *, test: Path | None, runs: list[Path] | None
) -> None:
    """Refuse options about participants to add that have no meaning as they stand."""
    for name, value in details.items():
        if value is not None and count is None:
            raise InputError("belongs to added participants", where=name, expected="--add-participants N with it")
    if count is not None and test is None:
        raise InputError("belongs to a listening test", where="--add-participants", expected="--test TEST.yaml with it")
    if count is not None and runs:
        raise InputError("adds to a test and ends", where="--add-participants", expected="no RUN", found=runs[0])


@contextmanager
def _warming_up(library: Library) -> Iterator[None]:
    """Warm up in a thread that is over when the context is: compiled code must not be cut off by the process's end."""
    from cadenza_remix.listen.versions import warm_up

    over = threading.Event()

    def work() -> None:
        with suppress(CadenzaError):  # whoever asks for it will be told
            warm_up(library, is_over=over.is_set)

    thread = threading.Thread(target=work, name="warming up")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _check_packages() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"listen needs {error.name}: pip install '.[listen]' in a clone, 'cadenza-remix[listen]' elsewhere"
        ) from error


def _library(paths: Sequence[Path], references: Path | None, music: Sequence[Path]) -> Library:
    from cadenza_remix.listen.library import Library
    from cadenza_remix.runs.finished import find_all_runs

    runs = find_all_runs(paths, references=references, music=music)
    library = Library.from_runs(runs)
    _tell_of(library, [path for run in runs for path in run.damaged])
    return library


def _tell_of(library: Library, damaged: Sequence[Path]) -> None:
    """Say what was found, and how to get what is missing."""
    from cadenza_remix.listen.library import missing_of

    tell(f"Songs: {_some([song.name for song in library.songs])}")
    tell(f"Systems: {_some([system.name for system in library.systems])}")
    tell(f"Listeners: {_some([listener.id for listener in library.listeners])}")
    ways = {
        "mixture": "no mixture found (--music FILE, or --references DIR with mixture.wav in it)",
        "clean": "no clean stems found (--references DIR)",
        "separated": "no separated stems kept (other audiograms cannot be tried)",
    }
    for part, songs in missing_of(library).items():
        tell(f"  {ways[part]}: {_some(songs)}")
    if damaged:
        tell(
            f"  records that cannot be read, what they stand for is left out: {_some([str(path) for path in damaged])}"
        )


def _some(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _uploads(library: Library, folder: Path, name: str) -> Uploads:
    """Return what takes visitors' songs, with a separator of which is known that it can be had."""
    from cadenza_remix.audio.signal import STEMS
    from cadenza_remix.listen.uploads import Uploads
    from cadenza_remix.separation.loading import AUTO, is_model_path
    from cadenza_remix.separation.stems import has_vdbo

    separator = open_separator(name)
    if not has_vdbo(separator.stems):
        found = ", ".join(separator.stems)
        raise InputError("does not separate into four stems", where=name, expected=", ".join(STEMS), found=found)
    if name == AUTO:
        name = separator.name
    elif is_model_path(name):
        name = str(Path(name).resolve())
    return Uploads(folder / "uploads", library=library, separator=name)


def _serve(
    app: FastAPI,
    bound: socket.socket,
    *,
    host: str,
    has_room: bool,
    panel: Panel | None,
    open_page: bool,
    verbose: bool,
) -> None:
    from cadenza_remix.listen.security import is_loopback
    from cadenza_remix.listen.serving import address_of, own_address, serve

    address = address_of(bound, host=host)
    outside = address
    if not is_loopback(host):
        outside = address_of(bound, host=own_address(host))
        err.print(
            f"cadenza-remix: warning: --host {host}: everybody who can reach this machine can use the room; "
            "nothing is encrypted",
            markup=False,
            soft_wrap=True,
        )

    def on_listening() -> None:
        if panel is not None:
            if panel.store.change is not None:
                tell(f"{panel.store.path}: {panel.store.change.sentence}")
            panel.roster.note_address(outside)
            _tell_links(panel, outside)
        tell(f"Listening {'room' if has_room else 'test'}: {address} (Ctrl-C ends it)")
        if outside != address:
            tell(f"From other devices: {outside}")
        if open_page and not _shown(address):
            tell("Open this address in a browser.")

    serve(app, bound, on_listening=on_listening, verbose=verbose)


def _shown(address: str) -> bool:
    """Open a page in a browser with windows; one in the terminal would hold up the server."""
    import webbrowser

    has_windows = sys.platform in {"darwin", "win32"} or any(os.environ.get(n) for n in ("DISPLAY", "WAYLAND_DISPLAY"))
    return has_windows and webbrowser.open(address)


def _tell_links(panel: Panel, address: str) -> None:
    """Print everybody's link; whoever has one is that participant."""
    links = panel.links(address)
    for number, link in links.participants.items():
        tell(f"Participant {number} ({links.listeners[number]}): {link}")
    token = f"token {links.admin_token}" if links.admin_token else "with the first start's token, or the environment's"
    tell(f"Administrators: {links.admin}, {token}")
    tell(f"Answers go to {panel.store.path}")
