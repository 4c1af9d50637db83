"""What is wrong with the files of an entry as a whole: which there are, and how they are named.

One mistake makes one fault: a listener who is missing is not told file by file.

===================  ===============================================================================================
kind                 what it says
===================  ===============================================================================================
empty                none of the expected pairs is there
top_folder           a zip file's files do not lie below ``evaluation/``
outside, twice       an entry of a zip file lies outside that folder, or stands there more than once
backslashes          a zip file's names are written with backslashes
listener_missing     all songs of a listener are missing
song_missing         a song is missing for all listeners
pair_missing         one song is missing for one listener
missing, extra       a file that is missing from a pair, or belongs to none
misspelt             a folder or file is there under another spelling (upper and lower case, accents, spaces)
listener_unknown     a folder for a listener who was not asked for
song_unknown         a folder for a song that was not asked for
===================  ===============================================================================================
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cadenza_remix.challenge.checks.files import Fault
from cadenza_remix.challenge.naming import SUBMISSION_FOLDER, pair_paths
from cadenza_remix.challenge.pairs import Pair
from cadenza_remix.challenge.tree import EnhancedTree


def structure_faults(
    tree: EnhancedTree, pairs: Sequence[Pair], *, partial: bool = False, remix: bool = True
) -> list[Fault]:
    """Return the faults of an entry's names: what is missing, what does not belong there.

    Parameters
    ----------
    tree : EnhancedTree
    pairs : sequence of Pair
        What the entry must hold.
    partial : bool
        Pairs of which there is no file are no fault; a pair that is incomplete still is one.
    remix : bool
        A pair without its remix is incomplete.
    """
    faults = list(_zip_faults(tree))
    known = _Known.of(pairs)
    foreign, respelt = _foreign_faults(tree, known)
    return faults + _missing_faults(tree, pairs, respelt, partial=partial, remix=remix) + foreign


def file_names(pair: Pair, *, remix: bool = True) -> list[str]:
    """Return the names of a pair's files, seventeen with the remix."""
    names = [path.as_posix() for path in pair_paths("", pair.listener, pair.song)]
    return names if remix else names[:-1]


def present_pairs(tree: EnhancedTree, pairs: Iterable[Pair]) -> list[Pair]:
    """Return those of the pairs of which the tree holds any file under its right name."""
    return [pair for pair in pairs if any(name in tree for name in file_names(pair))]


def _zip_faults(tree: EnhancedTree) -> Iterator[Fault]:
    expected = f"{SUBMISSION_FOLDER}/..."
    if tree.prefix != f"{SUBMISSION_FOLDER}/":
        yield Fault(
            tree.prefix or "./", "wrong folder at the top of the zip file", expected, f"{tree.prefix}...", "top_folder"
        )
    yield from (Fault(name, "lies outside the folder", expected, kind="outside") for name in tree.outside)
    yield from (Fault(name, "stands twice in the zip file", kind="twice") for name in tree.twice)
    if tree.backslashed:
        found = f"{len(tree.backslashed)} names with backslashes"
        yield Fault(
            tree.backslashed[0], "zip file written with backslashes", "forward slashes", found, kind="backslashes"
        )


@dataclass(frozen=True)
class _Known:
    """The expected listeners, songs and pairs; names are found as they are, or else whatever their spelling."""

    listeners: Mapping[str, str]
    songs: Mapping[str, str]
    pairs: frozenset[Pair]

    @staticmethod
    def of(pairs: Sequence[Pair]) -> _Known:
        listeners, songs = ({pair[part] for pair in pairs} for part in (1, 0))
        return _Known(_by_spelling(listeners), _by_spelling(songs), frozenset(pairs))

    def listener(self, name: str) -> str | None:
        return self.listeners.get(name) or self.listeners.get(_spelling(name))

    def song(self, name: str) -> str | None:
        return self.songs.get(name) or self.songs.get(_spelling(name))


def _by_spelling(names: Iterable[str]) -> dict[str, str]:
    """Return names by spelling, which leaves out case, accents and spaces, and by themselves, which comes first."""
    table = {_spelling(name): name for name in names}
    return table | {name: name for name in names}


def _spelling(name: str) -> str:
    return "".join(unicodedata.normalize("NFKD", name).casefold().split())


def _foreign_faults(tree: EnhancedTree, known: _Known) -> tuple[list[Fault], frozenset[str]]:
    """Return the faults of what does not belong there, and the names of expected files that are there misspelt."""
    unknown_songs: dict[str, list[str]] = {}
    unknown_listeners: Counter[str] = Counter()
    folders: dict[tuple[str, str], list[str]] = {}
    faults = []
    for name in tree.names:
        parts = name.split("/")
        listener, song = (*parts, "", "")[:2]
        if len(parts) > 1 and known.listener(listener) is None:
            unknown_listeners[listener] += 1
        elif len(parts) > 2 and known.song(song) is None:
            if listener not in unknown_songs.setdefault(song, []):
                unknown_songs[song].append(listener)
        elif len(parts) == 3:
            folders.setdefault((listener, song), []).append(name)
        else:
            faults.append(Fault(name, "does not belong to the submission", kind="extra"))
    for listener, n_files in unknown_listeners.items():
        faults.append(
            Fault(listener, "listener who was not asked for", found=f"{n_files} files", kind="listener_unknown")
        )
    for song, of_listeners in unknown_songs.items():
        found = f"for {len(of_listeners)} listeners"
        faults.append(
            Fault(f"{of_listeners[0]}/{song}", "song that was not asked for", found=found, kind="song_unknown")
        )
    respelt: set[str] = set()
    for (listener, song), names in folders.items():
        faults += _folder_faults(listener, song, names, known, respelt)
    return sorted(faults, key=lambda fault: fault.path), frozenset(respelt)


def _folder_faults(listener: str, song: str, names: list[str], known: _Known, respelt: set[str]) -> list[Fault]:
    """Return what does not belong in one folder of a known listener and song; note the names that are misspelt."""
    pair = Pair(known.song(song) or song, known.listener(listener) or listener)
    if pair not in known.pairs:
        return [Fault(f"{listener}/{song}", "pair that was not asked for", found=f"{len(names)} files", kind="extra")]
    wanted = {_spelling(name): name for name in file_names(pair)}
    right = set(wanted.values())
    wrong = [name for name in names if name not in right]
    misspelt = [name for name in wrong if wanted.get(_spelling(name)) not in (None, *names)]
    respelt.update(wanted[_spelling(name)] for name in misspelt)
    faults = [Fault(name, "does not belong to the submission", kind="extra") for name in wrong if name not in misspelt]
    if (listener, song) != (pair.listener, pair.song) and misspelt:
        expected = f"{pair.listener}/{pair.song}"
        faults.append(Fault(f"{listener}/{song}", "folder is misspelt", expected, f"{listener}/{song}", "misspelt"))
    elif misspelt:
        rest = f" (and {len(misspelt) - 1} more)" if len(misspelt) > 1 else ""
        expected = wanted[_spelling(misspelt[0])].split("/")[-1]
        faults.append(
            Fault(misspelt[0], "file is misspelt", expected, misspelt[0].split("/")[-1] + rest, kind="misspelt")
        )
    return faults


def _missing_faults(
    tree: EnhancedTree, pairs: Sequence[Pair], respelt: frozenset[str], *, partial: bool, remix: bool
) -> list[Fault]:
    """Return what is missing, each gap told once and as large as it is."""
    gaps: dict[Pair, list[str]] = {}
    for pair in pairs:
        names = file_names(pair, remix=remix)
        missing = [name for name in names if name not in tree and name not in respelt]
        if missing:
            gaps[pair] = [] if len(missing) == len(names) else missing
    absent = [pair for pair, missing in gaps.items() if not missing]
    faults = [] if partial else _absent_faults(pairs, absent)
    for missing in gaps.values():
        faults += [Fault(name, "missing", kind="missing") for name in missing]
    return faults


def _absent_faults(pairs: Sequence[Pair], absent: list[Pair]) -> list[Fault]:
    if absent and len(absent) == len(pairs) > 1:
        return [Fault(".", "holds none of the expected pairs", f"{len(pairs)} pairs", "none", kind="empty")]
    of_listener, of_song = Counter(pair.listener for pair in pairs), Counter(pair.song for pair in pairs)
    gone_of_listener, gone_of_song = Counter(p.listener for p in absent), Counter(p.song for p in absent)
    faults: dict[str, Fault] = {}
    for song, listener in absent:
        if gone_of_listener[listener] == of_listener[listener] > 1:
            text = f"listener is missing with all {of_listener[listener]} songs"
            faults[f"listener {listener}"] = Fault(listener, text, kind="listener_missing")
        elif gone_of_song[song] == of_song[song] > 1:
            text = f"song is missing for all {of_song[song]} listeners"
            faults[f"song {song}"] = Fault(f"*/{song}", text, kind="song_missing")
        else:
            faults[f"{listener}/{song}"] = Fault(f"{listener}/{song}", "pair is missing", kind="pair_missing")
    return list(faults.values())
