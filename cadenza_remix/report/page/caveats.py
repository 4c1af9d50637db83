"""What a reader should bear in mind before believing the numbers: found in the scores and records, told in short."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from cadenza_remix.report.page.contents import Contents, Scores
from cadenza_remix.report.page.markup import counted
from cadenza_remix.report.page.overview import scorer_in_words
from cadenza_remix.report.page.sound_section import clipping_of
from cadenza_remix.report.statistics import FEW_CLUSTERS
from cadenza_remix.runs.finished import FinishedRun

_WORTH_TELLING_PERCENT = 0.1
_MOST_NAMED = 3
MODEL_WORDS = (
    "HAAQI is a model of how listeners judge music through hearing aids: systems that it ranks lower have been "
    "preferred by listeners. Listen before you decide."
)


def caveats(contents: Contents) -> list[str]:
    """Return what limits the conclusions, each as a sentence or two; the weightiest first."""
    found = [*contents.notes, *_too_few(contents), *_not_scored(contents), *_undefined(contents)]
    found += [*_unlike_pairs(contents), *_unlike_scorers(contents), *_unlike_cuts(contents), *_unlike_ears(contents)]
    found += _over_full_scale(contents)
    return [*found, MODEL_WORDS] if contents.scores else found


def _too_few(contents: Contents) -> Iterator[str]:
    few = [name for name, scores in contents.scores.items() if min(_sizes(scores)) < FEW_CLUSTERS]
    if few:
        sizes = {_sizes(contents.scores[name]) for name in few}
        n_songs, n_listeners = next(iter(sizes)) if len(sizes) == 1 else (0, 0)
        words = f"Only {counted(n_songs, 'song')} and {counted(n_listeners, 'listener')}" if n_songs else "Few data"
        of_whom = "" if len(few) == len(contents.scores) else f" of {', '.join(few)}"
        yield f"{words}{of_whom}: intervals marked * are too narrow to tell systems apart."


def _sizes(scores: Scores) -> tuple[int, int]:
    return len({pair.song for pair in scores.means}), len({pair.listener for pair in scores.means})


def _not_scored(contents: Contents) -> Iterator[str]:
    for run in contents.runs:
        if run.damaged:
            names = ", ".join("/".join(path.parts[-3:]) for path in run.damaged[:_MOST_NAMED])
            more = ", ..." if len(run.damaged) > _MOST_NAMED else ""
            yield f"{run.name}: {counted(len(run.damaged), 'record')} cannot be read and left out ({names}{more})."
    for run in contents.systems:
        n_left = len(run.enhanced.keys() - run.scored.keys())
        if n_left:
            yield f"{run.name}: {n_left} of {counted(len(run.enhanced), 'enhanced pair')} not scored."


def _undefined(contents: Contents) -> Iterator[str]:
    for name, scores in contents.scores.items():
        haaqi = scores.tidy[scores.tidy["metric"] == "haaqi"]["value"]
        if n_undefined := int(haaqi.isna().sum()):
            yield (
                f"{name}: {n_undefined} of {counted(len(haaqi), 'value')} of HAAQI not defined (silent stems); "
                "means leave them out."
            )


def _unlike_pairs(contents: Contents) -> Iterator[str]:
    for name, comparison in contents.comparisons.items():
        if comparison.n_only_this or comparison.n_only_other:
            yield (
                f"{name} and {contents.against} were not scored for the same pairs ({comparison.n_common} in common): "
                "compare their differences in Side by side, not their means."
            )


def _unlike_scorers(contents: Contents) -> Iterator[str]:
    kinds = {run.name: scorer_in_words(run.scored.values()) for run in contents.runs if run.scored}
    if len(set(kinds.values())) > 1:
        yield f"Scored differently: {'; '.join(f'{name} by {words}' for name, words in kinds.items())}."


def _unlike_cuts(contents: Contents) -> Iterator[str]:
    cut = {run.name: any(map(is_cut, run.enhanced.values())) for run in contents.systems}
    if len(set(cut.values())) > 1:
        yield f"Segments of the songs in {', '.join(name for name, is_ in cut.items() if is_)}, whole songs elsewhere."


def is_cut(record: object) -> bool:
    """Tell whether a record of enhancing is of segments."""
    return bool(getattr(record, "settings", {}).get("segments_s"))


def _unlike_ears(contents: Contents) -> Iterator[str]:
    for run in contents.runs:
        if names := _with_two_audiograms(run):
            yield (
                f"{run.name}: records of {', '.join(names)} hold different audiograms. What is drawn and tabled is "
                "the first one found; make the older records again."
            )


def _with_two_audiograms(run: FinishedRun) -> list[str]:
    first: dict[str, object] = {}
    unlike: dict[str, None] = {}
    for pair, record in chain(run.enhanced.items(), run.scored.items()):
        audiograms = record.settings.get("audiograms")
        if first.setdefault(pair.listener, audiograms) != audiograms:
            unlike[pair.listener] = None
    return list(unlike)


def _over_full_scale(contents: Contents) -> Iterator[str]:
    loud = {run.name: clipping_of(run) for run in contents.systems}
    shares = [f"{name} {clipping.percent:.1f} %" for name, clipping in loud.items()
              if clipping is not None and clipping.percent >= _WORTH_TELLING_PERCENT]  # fmt: skip
    if shares:
        yield (
            f"Remixes were driven over full scale before the soft clip (share of samples: {', '.join(shares)}): "
            "they sound distorted there. The scored stems are not touched by it."
        )
