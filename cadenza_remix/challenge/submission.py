"""Pack an entry for the challenge, and check its form before it is sent.

A submission is ``submission_<TEAM>.zip`` with one folder ``evaluation`` at its top and the tree of
:mod:`cadenza_remix.challenge.naming` below it. What is checked is told in :mod:`cadenza_remix.challenge.checks.files`;
with the clean stems at hand, :mod:`cadenza_remix.runs.validating` finds more.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from cadenza_remix.atomic import atomic_path
from cadenza_remix.challenge.checks.files import Fault, check_pair
from cadenza_remix.challenge.checks.structure import file_names, present_pairs, structure_faults
from cadenza_remix.challenge.metadata import SongEntry, SongSegments
from cadenza_remix.challenge.naming import SUBMISSION_FOLDER, check_name
from cadenza_remix.challenge.pairs import Pair, make_pairs
from cadenza_remix.challenge.tree import EnhancedTree, open_tree
from cadenza_remix.errors import InputError

_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold: equal entries give equal files


def pack_submission(
    enhanced_root: str | Path,
    out_dir: str | Path,
    team: str,
    *,
    songs: Iterable[str | SongEntry] | None = None,
    listener_ids: Iterable[str] | None = None,
) -> Path:
    """Write ``submission_<TEAM>.zip`` from a folder of enhanced signals.

    The file appears whole or not at all, and the same signals give the same bytes. FLAC does not shrink, so nothing is
    compressed again. Hidden files stay out.

    Parameters
    ----------
    enhanced_root : str or Path
        As for `open_tree`.
    out_dir : str or Path
        Made as needed.
    team : str
        The team's identifier.
    songs, listener_ids : iterable, optional
        What the submission must hold, given together. Without them: whatever pairs the folder holds.

    Returns
    -------
    Path
        The zip file.

    Raises
    ------
    InputError
        There is no such folder, files are missing from it, or some do not belong to a submission.
    OutputError
        The zip file cannot be written.
    """
    check_name(team, "team")
    tree = open_tree(enhanced_root)
    pairs = _pairs_of(songs, listener_ids) or _pairs_in(tree)
    faults = structure_faults(tree, pairs)
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise InputError(f"not a complete entry: {faults[0]}{more}", where=enhanced_root)
    target = Path(out_dir) / f"submission_{team}.zip"
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name in sorted(name for pair in pairs for name in file_names(pair)):
            entry = zipfile.ZipInfo(f"{SUBMISSION_FOLDER}/{name}", date_time=_ZIP_EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, tree.read(name))
    return target


def validate_submission(
    path: str | Path,
    songs: Iterable[str | SongEntry],
    listener_ids: Iterable[str],
    *,
    segments: Mapping[str, SongSegments] | None = None,
) -> list[Fault]:
    """Return everything that is wrong with the form of a submission; an empty list when nothing is.

    Every file is decoded to its end, in place: a zip file is not unpacked.

    Parameters
    ----------
    path : str or Path
        A submission's zip file, or the folder from which it would be packed.
    songs, listener_ids : iterable
        What it must hold: every song for every listener.
    segments : mapping of song to SongSegments, optional
        How long files must be: the stems as long as the objective segment, the remix as the subjective one. For whole
        songs give segments from 0 to the song's end.

    Raises
    ------
    InputError
        There is nothing at ``path``, it is neither a folder nor a zip file, or a song has no segments.
    """
    pairs = make_pairs(songs, listener_ids)
    tree = open_tree(path)
    faults = structure_faults(tree, pairs)
    for pair in present_pairs(tree, pairs):
        stem_s = remix_s = None
        if segments is not None:
            if pair.song not in segments:
                raise InputError("no expected duration", where="segments", expected=repr(pair.song))
            stem_s, remix_s = segments[pair.song].objective.duration_s, segments[pair.song].subjective.duration_s
        faults += check_pair(tree, pair, stem_s=stem_s, remix_s=remix_s).faults
    return faults


def _pairs_of(songs: Iterable[str | SongEntry] | None, listener_ids: Iterable[str] | None) -> list[Pair]:
    if songs is None and listener_ids is None:
        return []
    if songs is None or listener_ids is None:
        raise InputError("songs and listeners go together", expected="both or neither", found="one of them")
    return make_pairs(songs, listener_ids)


def _pairs_in(tree: EnhancedTree) -> list[Pair]:
    """Return the pairs that a folder's sub-folders name."""
    pairs = tree.pairs()
    if not pairs:
        raise InputError(
            "no enhanced signals to pack", expected="<listener>/<song>/*.flac", found=f"{len(tree.names)} files"
        )
    return pairs
