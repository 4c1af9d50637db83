"""What is sung: speech sounds, syllables spelt with them, and a small list of words to make lyrics from.

A syllable is spelt with ARPAbet's sounds in lower case, joined by hyphens: "n-ay-t". It holds one vowel, with any
consonants around it. `MELISMA` ("~") in place of a syllable goes on with the vowel before it on another note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from cadenza_remix.errors import InputError, unknown_name

MELISMA = "~"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


VOWELS = _names("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw")
DIPHTHONGS = _names("aw ay ey ow oy")
CONSONANTS = _names("b ch d dh f g hh jh k l m n ng p r s sh t th v w y z")
UNVOICED = _names("ch f hh k p s sh t th")
PLOSIVES = _names("b d g k p t ch jh")

# Spelling, then the syllables.
_WORDS = """
a ax; I ay; you y-uw; me m-iy; we w-iy; he hh-iy; she sh-iy; my m-ay; your y-ao-r; the dh-ax; and ae-n-d; to t-uw;
for f-ao-r; in ih-n; on aa-n; of ah-v; with w-ih-dh; no n-ow; so s-ow; now n-aw; love l-ah-v; heart hh-aa-r-t; night
n-ay-t; day d-ey; time t-ay-m; light l-ay-t; fire f-ay er; rain r-ey-n; sun s-ah-n; moon m-uw-n; star s-t-aa-r; sky
s-k-ay; sea s-iy; road r-ow-d; home hh-ow-m; town t-aw-n; street s-t-r-iy-t; door d-ao-r; hand hh-ae-n-d; eyes ay-z;
face f-ey-s; name n-ey-m; dream d-r-iy-m; song s-ao-ng; sound s-aw-n-d; world w-er-l-d; life l-ay-f; mind m-ay-n-d;
soul s-ow-l; free f-r-iy; wild w-ay-l-d; cold k-ow-l-d; blue b-l-uw; gold g-ow-l-d; dark d-aa-r-k; deep d-iy-p; high
hh-ay; low l-ow; long l-ao-ng; young y-ah-ng; old ow-l-d; new n-uw; true t-r-uw; gone g-ao-n; lost l-ao-s-t; found
f-aw-n-d; come k-ah-m; go g-ow; stay s-t-ey; run r-ah-n; fall f-ao-l; fly f-l-ay; hold hh-ow-l-d; feel f-iy-l; know
n-ow; see s-iy; hear hh-iy-r; say s-ey; tell t-eh-l; call k-ao-l; take t-ey-k; give g-ih-v; make m-ey-k; wait
w-ey-t; burn b-er-n; break b-r-ey-k; dance d-ae-n-s; shine sh-ay-n; turn t-er-n; leave l-iy-v; keep k-iy-p; find
f-ay-n-d; need n-iy-d; want w-aa-n-t; never n-eh v-er; ever eh v-er; over ow v-er; under ah-n d-er; again ax g-eh-n;
away ax w-ey; alone ax l-ow-n; tonight t-ax n-ay-t; today t-ax d-ey; baby b-ey b-iy; honey hh-ah n-iy; sister s-ih
s-t-er; brother b-r-ah dh-er; mother m-ah dh-er; river r-ih v-er; water w-ao t-er; summer s-ah m-er; winter w-ih-n
t-er; morning m-ao-r n-ih-ng; shadow sh-ae d-ow; window w-ih-n d-ow; silver s-ih-l v-er; thunder th-ah-n d-er;
believe b-ax l-iy-v; remember r-ax m-eh-m b-er; forever f-er eh v-er; together t-ax g-eh dh-er; somebody s-ah-m b-aa
d-iy; everything eh v-r-iy th-ih-ng; another ax n-ah dh-er; heaven hh-eh v-ax-n; children ch-ih-l d-r-ax-n; magic
m-ae jh-ih-k; change ch-ey-n-jh; chance ch-ae-n-s; just jh-ah-s-t; voice v-oy-s; boy b-oy; joy jh-oy; noise n-oy-z;
good g-uh-d; look l-uh-k; took t-uh-k; could k-uh-d; this dh-ih-s; that dh-ae-t; when w-eh-n; where w-eh-r; what
w-ah-t; out aw-t; down d-aw-n; loud l-aw-d; think th-ih-ng-k; thing th-ih-ng; wish w-ih-sh; push p-uh-sh; please
p-l-iy-z; power p-aw er; people p-iy p-ax-l; place p-l-ey-s; peace p-iy-s; paper p-ey p-er
"""
# Sung without a word.
_CALLS = "uw aa ow hh-ey y-eh w-ow n-aa l-aa d-uw b-aa m-ah hh-uw y-ey d-aa sh-aa l-ah"


def _read_words(text: str) -> dict[str, tuple[str, ...]]:
    entries = (entry.split() for entry in text.split(";"))
    return {word: tuple(syllables) for word, *syllables in entries}


WORDS = _read_words(_WORDS)
CALLS = tuple(_CALLS.split())


@dataclass(frozen=True)
class Syllable:
    """The sounds of a syllable: consonants, one vowel, consonants."""

    onset: tuple[str, ...]
    vowel: str
    coda: tuple[str, ...]

    @property
    def sounds(self) -> tuple[str, ...]:
        """All sounds in their order."""
        return (*self.onset, self.vowel, *self.coda)


@lru_cache(maxsize=4096)
def parse_syllable(text: str) -> Syllable:
    """Return the sounds of a syllable.

    Raises
    ------
    InputError
        When a sound is unknown, or there is not exactly one vowel.

    Examples
    --------
    >>> parse_syllable("n-ay-t")
    Syllable(onset=('n',), vowel='ay', coda=('t',))
    """
    sounds = text.split("-")
    for sound in sounds:
        if sound not in VOWELS and sound not in CONSONANTS:
            raise unknown_name("speech sound", sound, sorted(VOWELS | CONSONANTS), where=f"syllable {text!r}")
    places = [place for place, sound in enumerate(sounds) if sound in VOWELS]
    if len(places) != 1:
        raise InputError("wrong number of vowels", where=f"syllable {text!r}", expected=1, found=len(places))
    vowel = places[0]
    return Syllable(tuple(sounds[:vowel]), sounds[vowel], tuple(sounds[vowel + 1 :]))


def lyrics(rng: np.random.Generator, n_syllables: int, *, words: Sequence[str] | None = None) -> list[str]:
    """Return syllables of random words, or of calls such as "ooh", for a line of `n_syllables` notes.

    Parameters
    ----------
    rng : numpy.random.Generator
    n_syllables : int
        How many syllables are returned; no word is cut.
    words : sequence of str, optional
        Words to choose from, out of `WORDS` (a song has few words of its own); all by default.

    Raises
    ------
    InputError
        When `n_syllables` is negative or a word is not in the list.
    """
    if n_syllables < 0:
        raise InputError("not a number of syllables", where="n_syllables", expected=">= 0", found=n_syllables)
    for word in words or ():
        if word not in WORDS:
            raise unknown_name("word", word, sorted(WORDS), where="words")
    known = [WORDS[word] for word in (WORDS if words is None else words)]
    called = rng.random() < 0.08
    line: list[str] = []
    while len(line) < n_syllables:
        room = n_syllables - len(line)
        fitting = [syllables for syllables in known if len(syllables) <= room]
        if called or not fitting:
            line.append(CALLS[rng.integers(len(CALLS))])
        else:
            line.extend(fitting[rng.integers(len(fitting))])
    return line


def random_words(rng: np.random.Generator, n_words: int) -> list[str]:
    """Return `n_words` different words of the list: the vocabulary of one song."""
    names = list(WORDS)
    return [names[place] for place in rng.permutation(len(names))[:n_words]]
