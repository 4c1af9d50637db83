"""Unpacking: what is asked for comes out whole, and nothing that an archive says is believed."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

import pytest
from model_server import CHECKPOINT, in_folder, tar_of, wheel_of, zip_of

from cadenza_remix.errors import CadenzaError, ModelError
from cadenza_remix.separation.models.archives import unpack_files


def unpack(tmp_path: Path, content: bytes, **options: int) -> dict[PurePosixPath, Path]:
    """Unpack an archive given as bytes; its name never helps to tell what it is."""
    archive = tmp_path / "archive.bin"
    archive.write_bytes(content)
    into = tmp_path / "into"
    into.mkdir()
    return unpack_files(archive, into, wanted=CHECKPOINT, **options)


def special_tar(kind: bytes, *, name: str = "model.index", target: str = "/etc/passwd") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type = kind
        info.linkname = target
        tar.addfile(info)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "pack", [tar_of, lambda files: tar_of(files, mode="w"), zip_of, wheel_of], ids=["tar.gz", "tar", "zip", "wheel"]
)
def test_files_come_out_as_they_went_in(tmp_path: Path, pack) -> None:
    found = unpack(tmp_path, pack(in_folder("a/b") | {"a/b/model.meta": b"unwanted", "a/._checkpoint": b"unwanted"}))
    assert list(found) == [PurePosixPath("a/b")]
    folder = found[PurePosixPath("a/b")]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == dict(CHECKPOINT)


def test_archives_of_the_usual_tools_are_read(tmp_path: Path) -> None:
    # "./" in front and entries for folders, as `tar czf x.tar.gz .` makes them; long names bring extended headers.
    source = tmp_path / ("long" * 60)
    source.mkdir()
    for name, content in CHECKPOINT.items():
        (source / name).write_bytes(content)
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=format) as tar:
            tar.add(source, arcname=f"./{source.name}")
        base = tmp_path / str(format)
        base.mkdir()
        found = unpack(base, buffer.getvalue())
        assert list(found) == [PurePosixPath(source.name)]


def test_files_of_one_name_in_two_folders_are_kept_apart(tmp_path: Path) -> None:
    found = unpack(tmp_path, zip_of({"2/checkpoint": b"two", "4/checkpoint": b"four"}))
    assert {str(place): (folder / "checkpoint").read_bytes() for place, folder in found.items()} == {
        "2": b"two",
        "4": b"four",
    }


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "\\evil"])
@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_paths_that_leave_the_folder_are_refused(tmp_path: Path, pack, name: str) -> None:
    # Refused even where the file itself would not be unpacked: such an archive was not made by the model's authors.
    with pytest.raises(ModelError, match="leaves the folder"):
        unpack(tmp_path, pack({name: b"evil"} | CHECKPOINT))
    assert [path.name for path in tmp_path.rglob("*")] == ["archive.bin", "into"]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "link"),
        (tarfile.LNKTYPE, "link"),
        (tarfile.CHRTYPE, "device"),
        (tarfile.BLKTYPE, "device"),
        (tarfile.FIFOTYPE, "device"),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes, word: str) -> None:
    with pytest.raises(ModelError, match=f"'model.index' is a {word}"):
        unpack(tmp_path, special_tar(kind))


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        info = zipfile.ZipInfo("checkpoint")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(ModelError, match="'checkpoint' is a link"):
        unpack(tmp_path, buffer.getvalue())


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_an_absurd_size_is_refused_before_it_is_written(tmp_path: Path, pack) -> None:
    bomb = pack({"model.index": bytes(30_000_000)})
    assert len(bomb) < 100_000  # that is what makes it a bomb
    with pytest.raises(ModelError, match="larger than any model: expected at most 1 MB"):
        unpack(tmp_path, bomb, max_bytes=1_000_000)
    assert not list((tmp_path / "into").rglob("*"))


def test_the_sizes_of_all_members_are_added_up(tmp_path: Path) -> None:
    many = {f"{number}/other": bytes(300_000) for number in range(4)}
    with pytest.raises(ModelError, match="larger than any model"):
        unpack(tmp_path, tar_of(many), max_bytes=1_000_000)


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="in at most 10 files"):
        unpack(tmp_path, zip_of({str(number): b"" for number in range(11)}), max_members=10)


def test_an_extended_header_of_absurd_size_is_refused(tmp_path: Path) -> None:
    # The tar reader would load this header whole: its size field alone decides how much memory that takes.
    info = tarfile.TarInfo("header")
    info.type = tarfile.XHDTYPE
    info.size = 8 * 10**9
    header = info.tobuf(format=tarfile.USTAR_FORMAT)
    with pytest.raises(ModelError, match="larger than any model"):
        unpack(tmp_path, gzip.compress(header + bytes(1024)))


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("model.index")
    header = bytearray(info.tobuf(format=tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"  # -512 in base 256: the reader would come to this header again
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(ModelError, match="negative size"):
        unpack(tmp_path, bytes(header) + bytes(10240))


@pytest.mark.parametrize("pack", [tar_of, lambda files: tar_of(files, mode="w"), zip_of], ids=["tar.gz", "tar", "zip"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_truncated_archive_is_an_error(tmp_path: Path, pack, share: float) -> None:
    whole = pack(CHECKPOINT)
    with pytest.raises(ModelError, match="damaged or truncated archive"):
        unpack(tmp_path, whole[: int(share * len(whole))])


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_a_changed_byte_is_an_error(tmp_path: Path, pack) -> None:
    content = bytearray(pack(CHECKPOINT))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(ModelError, match="damaged"):
        unpack(tmp_path, bytes(content))


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for _ in range(2):
            tar.addfile(tarfile.TarInfo("model.index"), io.BytesIO())
    with pytest.raises(ModelError, match=r"'model\.index' is in the archive twice"):
        unpack(tmp_path, buffer.getvalue())


@pytest.mark.parametrize(
    ("content", "found"), [(b"", "an empty file"), (b"<html>no</html>", "a web page"), (b"what?", "something else")]
)
def test_what_is_no_archive_is_told_so(tmp_path: Path, content: bytes, found: str) -> None:
    with pytest.raises(ModelError, match=f"not an archive: expected .tar.gz, .*found {found}"):
        unpack(tmp_path, content)


def test_an_encrypted_zip_is_told_so(tmp_path: Path) -> None:
    content = bytearray(zip_of({"checkpoint": b"x"}))
    content[6] |= 1  # the flag, in the local header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(ModelError, match="encrypted"):
        unpack(tmp_path, bytes(content))


def test_a_missing_archive_and_a_folder_are_told_so(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.zip", "no such file"), (tmp_path, "cannot be read: Is a directory")):
        with pytest.raises(CadenzaError, match=words):
            unpack_files(path, tmp_path / "into", wanted=CHECKPOINT)
