"""Participants of a listening test from the command line: add them, and print their links."""

from __future__ import annotations

from pathlib import Path

from cadenza_remix.console import err, tell
from cadenza_remix.errors import InputError


def add_participants(
    test: Path, results: Path | None, *, count: int, listener: str | None, label: str | None, host: str, port: int
) -> None:
    """Add participants to a test, beside its server or before there is one, and print one link a line.

    Parameters
    ----------
    test, results : path
        As for the server.
    count : int
    listener : str or None
        Whose hearing they have; None is refused with the names that there are.
    label : str or None
        The organiser's own; counted up for several.
    host, port : str, int
        Where the server will be; one that runs has told where it is.

    Raises
    ------
    InputError
        No such participants can be, or the test cannot be opened.
    ConflictError
        There are too many, or somebody has one of the labels.
    """
    from cadenza_remix.listen.panel.additions import addition_from

    if port == 0:
        raise InputError("leads nowhere", where="--port", expected="the port of the server with --add-participants")
    if listener is None:
        expected = "a listener of the run, or a standard audiogram such as N3"
        raise InputError("missing", where="--listener", expected=f"{expected}, with --add-participants")
    addition = addition_from({"listener": listener, "count": count, "label": label})
    from cadenza_remix.listen.panel.roster import Roster

    roster = Roster.open(test, results, is_server=False)
    try:
        people, base = roster.add(addition), roster.server_address or _address(host, port)
        if roster.admin_token is not None:  # on standard error: standard output has links alone
            err.print(f"Administrators: {base}/admin, token {roster.admin_token}", markup=False, soft_wrap=True)
    finally:
        roster.close()
    for person in people:
        tell(f"{base}/t/{person.token}")


def _address(host: str, port: int) -> str:
    """Return the address of a server there, as other people call it."""
    from cadenza_remix.listen.serving import own_address

    name = own_address(host)
    return f"http://[{name}]:{port}" if ":" in name and not name.startswith("[") else f"http://{name}:{port}"
