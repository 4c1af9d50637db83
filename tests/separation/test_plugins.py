"""Separators of other packages: the tutorial's as it stands there, and all that may be wrong with one."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from cadenza_remix.audio.blocks import AudioBlocks
from cadenza_remix.audio.signal import Audio
from cadenza_remix.errors import InputError, ModelError
from cadenza_remix.separation.loading import load_separator, separator_names
from cadenza_remix.separation.options import SeparationOptions
from cadenza_remix.separation.plugins import GROUP, plugin_names

TUTORIAL = Path(__file__).parents[2] / "docs" / "own_separator.md"
RATE = 44_100

SEPARATOR = """
from cadenza_remix.separation.windows import WindowedSeparator, Windows

def halves(name="{name}", **facts):
    return WindowedSeparator(
        name, lambda samples: {{"vocals": 0.5 * samples, "rest": 0.5 * samples}}, stems=("vocals", "rest"),
        sample_rate=44_100, windows=Windows(1000, 100), fingerprint="1", **facts,
    )
"""


def install(folder, package, entries, source):
    """Lay a package out as pip does: its module, and the folder of facts from which entry points are read."""
    module = package.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    facts = folder / f"{module}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (facts / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages; its modules are forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    for file in folder.glob("*.py"):
        sys.modules.pop(file.stem, None)


def blocks_of(language):
    """Return the tutorial's code blocks, without the indentation that they have in a list."""
    return re.findall(rf"^```{language}\n(.*?)^```", TUTORIAL.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """The tutorial's package, installed; a song; and an environment in which both are found."""
    folder = tmp_path_factory.mktemp("tutorial")
    (project,) = blocks_of("toml")
    facts = tomllib.loads(project)
    module = facts["tool"]["setuptools"]["py-modules"][0]
    assert module == facts["project"]["name"].replace("-", "_")
    install(folder, facts["project"]["name"], facts["project"]["entry-points"][GROUP], blocks_of("python")[0])
    rng = np.random.default_rng(0)
    middle, left, right = rng.normal(0, 0.1, (3, 25 * RATE))
    samples = np.stack([middle + left, middle + right], axis=1)
    soundfile.write(folder / "song.wav", samples, RATE, subtype="FLOAT")
    return folder


def run(folder, *command):
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_tutorials_code_is_as_short_as_it_says():
    lines = [line for line in blocks_of("python")[0].splitlines() if line.strip()]
    assert len(lines) <= 30


def test_the_tutorials_separator_runs_as_the_tutorial_uses_it(tutorial):
    result = run(tutorial, "-c", blocks_of("python")[1])
    assert result.stderr == ""
    assert result.stdout == f"Stems(vocals, accompaniment; {25 * RATE} samples at {RATE} Hz)\n"


def test_the_tutorials_separator_runs_at_the_command_line(tutorial):
    (commands,) = blocks_of("sh")
    command = commands.splitlines()[1].split()
    assert command[0] == "cadenza-remix"
    result = run(tutorial, "-m", "cadenza_remix", *command[1:], "--bits", "32f")
    assert result.returncode == 0, result.stderr
    song, _ = soundfile.read(tutorial / "song.wav")
    stems = {path.stem: soundfile.read(path)[0] for path in (tutorial / "stems" / "song").glob("*.wav")}
    assert set(stems) == {"vocals", "accompaniment"}
    # Two stems of float32 that were made as a part and its difference from the whole.
    np.testing.assert_allclose(stems["vocals"] + stems["accompaniment"], song, rtol=0, atol=1e-6)
    # The middle is in the vocals: their channels are much more alike than the song's (0.5 by construction).
    assert np.corrcoef(song.T)[0, 1] == pytest.approx(0.5, abs=0.01)
    assert np.corrcoef(stems["vocals"].T)[0, 1] > 0.8


def test_the_tutorials_options_block_refuses_what_it_does_not_know(tutorial):
    text = TUTORIAL.read_text(encoding="utf-8")
    (indented,) = re.findall(r"^  ```python\n(.*?)^  ```", text, re.DOTALL | re.MULTILINE)
    names = {}
    exec(compile(re.sub("^  ", "", indented, flags=re.MULTILINE), "tutorial", "exec"), names)
    names["build"](options=SeparationOptions(device="cpu"))
    with pytest.raises(InputError, match=r"acme:network: option is not known.*found --wiener"):
        names["build"](options=SeparationOptions(wiener=True))


def test_a_plugin_has_a_name_like_all_others(site):
    before = separator_names()
    install(site, "some-package", {"some:halves": "some_package:halves"}, SEPARATOR.format(name="some:halves"))
    assert separator_names() == (*before, "some:halves")
    assert "some:halves" in plugin_names()
    assert "some_package" not in sys.modules  # the name is known before anything is loaded
    separator = load_separator("some:halves")
    stems = separator.separate(Audio(np.ones(2500), RATE))
    assert np.array_equal(stems["rest"].samples, np.full((2500, 2), 0.5))


def test_a_near_name_is_suggested(site):
    install(site, "some-package", {"some:halves": "some_package:halves"}, SEPARATOR.format(name="some:halves"))
    with pytest.raises(InputError, match=r"unknown separator 'some:halfs'.*did you mean 'some:halves'"):
        load_separator("some:halfs")


BROKEN = {
    "an import that fails": ("import no_such_module_at_all", "cannot be loaded: ModuleNotFoundError"),
    "an error on import": ("1 / 0", "cannot be loaded: ZeroDivisionError"),
    "an exit on import": ("raise SystemExit(3)", "cannot be loaded: SystemExit"),
    "nonsense": ("def build(", "cannot be loaded: SyntaxError"),
    "no such function": ("", "cannot be loaded: AttributeError"),
    "not a function": ("build = 7", "is no callable: found int"),
    "an argument too many": ("def build(colour): pass", "failed: TypeError"),
    "an error": ("def build(): raise OSError('no disk\\nat all')", "failed: OSError: no disk at all"),
    "nothing": ("def build(): pass", "gave no separator: expected name, found none"),
    "another name": (
        SEPARATOR.format(name="other") + "build = halves",
        "a wrong name: expected 'some:broken', found 'other'",
    ),
    "no block-wise method": (
        "class build:\n  name, stems, sample_rate, fingerprint = 'some:broken', ('vocals',), 44100, 'a'\n"
        "  def separate(self, audio): pass",
        "gave no separator: expected separate_blocks, found none",
    ),
    "stems as a list": (
        "class build:\n  name, stems = 'some:broken', ['vocals']",
        r"a wrong stems: expected a tuple of different names, found \['vocals'\]",
    ),
    "a rate in kHz": (
        "class build:\n  name, stems, sample_rate = 'some:broken', ('vocals',), 44.1",
        "a wrong sample_rate: expected a number of Hz, found 44.1",
    ),
}


@pytest.mark.parametrize(("source", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_fails_alone_and_says_whose_it_is(site, source, says):
    install(site, "some-package", {"some:broken": "some_package:build"}, source)
    install(site, "good-package", {"good:one": "good_package:halves"}, SEPARATOR.format(name="good:one"))
    assert {"some:broken", "good:one"} <= set(separator_names())
    with pytest.raises(ModelError, match=says) as caught:
        load_separator("some:broken")
    assert str(caught.value).startswith("some:broken: plug-in some_package:build of some-package 1.0 ")
    assert "\n" not in str(caught.value)
    assert load_separator("good:one").name == "good:one"


OWN = """
import numpy as np
from cadenza_remix.errors import InputError
from cadenza_remix.separation.separator import separate_whole
from cadenza_remix.separation.stems import Stems
from cadenza_remix.audio.signal import Audio

class build:
    name, stems, sample_rate, fingerprint = "some:own", ("vocals", "rest"), 44100, "a"
    def __repr__(self): return "Own()"
    def separate(self, audio, *, progress=None): {separate}
    def separate_blocks(self, source, *, progress=None):
        {separate_blocks}
"""
WHOLE = "return separate_whole(self, audio, progress=progress)"
EACH = "for b in source.blocks(): yield "


def own(site, separate_blocks="pass", separate=WHOLE):
    source = OWN.format(separate=separate, separate_blocks=separate_blocks)
    install(site, "some-package", {"some:own": "some_package:build"}, source)
    return load_separator("some:own")


def song(n_samples=1000):
    return Audio(np.random.default_rng(0).uniform(-1, 1, (n_samples, 2)), RATE, "noise")


def test_a_plugins_own_class_gives_what_it_gives(site):
    separator = own(site, EACH + "{'vocals': b, 'rest': -b}")
    assert repr(separator) == "Own()"
    assert (separator.device, separator.private_data, separator.training_data) == ("CPU", None, None)
    audio = song()
    blocks = list(separator.separate_blocks(AudioBlocks(audio, 300)))
    assert [len(block["rest"]) for block in blocks] == [300, 300, 300, 100]
    assert np.array_equal(np.concatenate([block["rest"] for block in blocks]), -audio.samples)
    assert np.array_equal(separator.separate(audio)["vocals"].samples, audio.samples)


WRONG_BLOCKS = {
    "a stem too few": (EACH + "{'vocals': b}", "wrong stems of a block: expected vocals, rest, found vocals"),
    "a list": (EACH + "[b, b]", "wrong stems of a block: .*found list"),
    "no blocks": ("return None", "failed: TypeError: 'NoneType' object is not iterable"),
    "none of them": ("return []", "did not read the song to its end: it read 0 samples"),
    "one of them": (
        "b = next(source.blocks()); yield {'vocals': b, 'rest': b}",
        "did not read the song to its end: it read 300 samples",
    ),
    "samples that it cannot know": (
        "b = np.zeros((10, 2)); yield {'vocals': b, 'rest': b}",
        "wrong length of its stems: expected at most the 0 samples .* found 10",
    ),
    "never an end": (
        "for b in source.blocks(): pass\n        while True: yield {'vocals': b, 'rest': b}",
        "wrong length of its stems: expected at most the 1000 samples",
    ),
    "too short": (EACH + "{'vocals': b[1:], 'rest': b[1:]}", "wrong length of its stems: expected 1000.*found 996"),
    "uneven": (EACH + "{'vocals': b, 'rest': b[1:]}", r"wrong shape of rest in a block: expected \(300, 2\)"),
    "mono": (EACH + "{'vocals': b[:, :1], 'rest': b[:, :1]}", r"wrong shape of vocals.*found \(300, 1\)"),
    "3-D": (EACH + "{'vocals': b[None], 'rest': b}", r"expected \(n_samples, 2\), found \(1, 300, 2\)"),
    "integers": (EACH + "{'vocals': (b * 9).astype(int), 'rest': b}", "wrong kind of vocals.*found int64"),
    "NaN": (EACH + "{'vocals': b * np.nan, 'rest': b}", "vocals is not finite"),
    "an error": ("yield {'vocals': 1}['x']", "failed: KeyError: 'x'"),
    "an error at once": ("raise RuntimeError('no\\nmemory')", "failed: RuntimeError: no memory"),
    "an exit": ("import sys; sys.exit(5)", "failed: SystemExit: 5"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("body", "says"), WRONG_BLOCKS.values(), ids=WRONG_BLOCKS)
def test_wrong_blocks_of_a_plugin_are_refused(site, body, says):
    separator = own(site, body)
    with pytest.raises(ModelError, match=says) as caught:
        for _ in separator.separate_blocks(AudioBlocks(song(), 300)):
            pass
    assert str(caught.value).startswith("some:own: plug-in some_package:build of some-package 1.0")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return None", "gave no stems: expected Stems, found NoneType"),
        ("return Stems({'vocals': audio})", "wrong stems: expected vocals, rest, found vocals"),
        ("return Stems(dict.fromkeys(self.stems, audio.excerpt(0, 0.01)))", "wrong length.*expected 1000, found 441"),
        ("return Stems(dict.fromkeys(self.stems, Audio(audio.samples, 48000)))", "wrong sample rate.*found 48000"),
        ("raise NotImplementedError", "failed: NotImplementedError"),
        ("raise SystemExit(5)", "failed: SystemExit: 5"),
        (WHOLE, "^some:own: wrong length: expected 1000 samples, found 999"),
    ],
)
def test_wrong_stems_of_a_plugin_are_refused(site, body, says):
    separator = own(site, EACH + "{'vocals': b[1:], 'rest': b[1:]}", separate=body)
    with pytest.raises(ModelError, match=says) as caught:
        separator.separate(song())
    assert str(caught.value).startswith("some:own: ")
    assert "\n" not in str(caught.value)


def test_what_others_raise_within_a_plugin_is_not_laid_to_its_charge(site):
    class Stopped(Exception):
        pass

    def stop(share):
        raise Stopped

    separator = own(
        site, "for b in source.blocks():\n            progress(0.5)\n            yield {'vocals': b, 'rest': b}"
    )
    with pytest.raises(Stopped):
        separator.separate(song(), progress=stop)
    source = AudioBlocks(song(), 300)
    for error in (InputError("cut off", where="song.wav"), Stopped()):

        def fail(error=error):
            yield song(300).samples
            raise error

        object.__setattr__(source, "blocks", fail)
        with pytest.raises(type(error)) as caught:
            list(separator.separate_blocks(source, progress=lambda share: None))
        assert caught.value is error


def test_what_a_plugin_raises_on_purpose_is_passed_on(site):
    source = "from cadenza_remix.errors import ModelError\ndef build(): raise ModelError('get it from acme.example')"
    install(site, "some-package", {"some:lost": "some_package:build"}, source)
    with pytest.raises(ModelError, match=r"^get it from acme\.example$"):
        load_separator("some:lost")


def test_a_name_that_two_packages_offer_is_refused(site):
    for package in ("one-package", "two-package"):
        install(site, package, {"some:twin": f"{package.replace('-', '_')}:halves"}, SEPARATOR.format(name="some:twin"))
    assert separator_names().count("some:twin") == 1
    with pytest.raises(ModelError, match=r"some:twin: offered by more than one.*one-package 1\.0.*two-package 1\.0"):
        load_separator("some:twin")


def test_our_own_names_are_never_taken(site, tmp_path):
    from cadenza_remix.separation.models.store import ModelStore

    before = separator_names()
    install(site, "some-package", {"spleeter:5stems": "some_package:halves", "auto": "some_package:halves"}, "1 / 0")
    assert separator_names() == before
    with pytest.raises(ModelError, match="spleeter:5stems: not installed"):
        load_separator("spleeter:5stems", store=ModelStore(tmp_path))


def test_options_go_to_those_who_take_them(site):
    source = SEPARATOR.format(name="some:plain") + (
        "seen = []\ndef choosy(*, options):\n    seen.append(options)\n    return halves('some:choosy')\n"
    )
    install(site, "some-package", {"some:plain": "some_package:halves", "some:choosy": "some_package:choosy"}, source)
    asked = SeparationOptions(device="cpu")
    load_separator("some:choosy", options=asked)
    load_separator("some:choosy")
    assert sys.modules["some_package"].seen == [asked, SeparationOptions()]
    with pytest.raises(InputError, match=r"some:plain: option is not known.*expected no options, found --wiener"):
        load_separator("some:plain", options=SeparationOptions(wiener=True))
    # A processor is what everything runs on.
    assert load_separator("some:plain", options=asked).name == "some:plain"
    assert load_separator("some:plain").name == "some:plain"


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({}, "no word on its training data"),
        ({"private_data": True, "training_data": "our own songs"}, "trained on our own songs"),
        ({"private_data": True}, "trained on private data"),
        ({"private_data": False}, None),
    ],
)
def test_rules_ask_a_plugin_for_its_training_data(site, facts, says):
    source = SEPARATOR.format(name="some:trained") + f"def build(): return halves(**{facts})"
    install(site, "some-package", {"some:trained": "some_package:build"}, source)
    assert load_separator("some:trained", rules="cad1").name == "some:trained"
    if says is None:
        assert load_separator("some:trained", rules="icassp2024").name == "some:trained"
        return
    with pytest.raises(InputError, match=f"some:trained: barred by the rules of icassp2024.*found {says}"):
        load_separator("some:trained", rules="icassp2024")
