"""What `virc unpack` says to type next works: each hint is typed back."""

import gzip
import io
import re
import shlex
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from archives import file, many, tar, tree
from support.called import Done, virc

from virc.core.errors import DataError
from virc.unpack.unpack import UnpackConfig, unpack

TAR = tar(*many(12, sizes=(100, 3000)))


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("a.png", b"picture")
    return made.getvalue()


def _matching(word: str) -> list[str]:
    return sorted(str(each) for each in Path(word).parent.glob(Path(word).name))


def typed(hint: str) -> Done:
    """What a shell would do with it: words, and the files that a star stands for."""
    words = shlex.split(re.sub(r"'([^'*]*)'\*", lambda quoted: shlex.quote(quoted[1]) + "*", hint))
    assert words[:2] == ["virc", "unpack"]
    return virc("unpack", *(each for word in words[2:] for each in (_matching(word) if "*" in word else [word])))


@pytest.mark.parametrize("folder", ["", "my data"])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("images.tar.part_{:02d}", TAR),
        ("images.tar.{:03d}", TAR),
        ("images-{:05d}-of-00003.tar", TAR),
        ("a b-{:05d}-of-00003.tar.gz", gzip.compress(TAR)),
        ("images.tgz.part-{}", gzip.compress(TAR)),
        ("images.zip.{:03d}", zipped()),
    ],
)
def test_one_part_alone_leads_to_all(form: str, data: bytes, which: int, folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    size = -(-len(data) // 3)
    parts = [tmp_path / folder / form.format(number) for number in range(3)]
    for number, part in enumerate(parts):
        part.write_bytes(data[number * size : (number + 1) * size])
    done = virc("unpack", parts[which])
    assert (done.code, "is one of 3 parts of an archive" in done.err) == (5, True)
    (hint,) = (line.removeprefix("hint: ") for line in done.err.splitlines() if line.startswith("hint: "))
    assert typed(hint).code == 0
    assert len(tree(tmp_path / folder)) > 3


def test_a_zip_archive_from_the_standard_input_leads_to_its_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "FILE.zip").write_bytes(zipped())
    monkeypatch.chdir(tmp_path)
    reader = SimpleNamespace(read=io.BytesIO(zipped()).read)  # a pipe, which goes one way
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=reader))
    with pytest.raises(DataError) as refused:
        unpack(UnpackConfig(Path("-")))
    assert typed(str(refused.value.hint)).code == 0


def test_too_many_files_lead_to_the_limit(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar(file("a"), file("b"), file("c")))
    done = virc("unpack", archive, "--max-files", "2")
    assert (done.code, "\nhint: --max-files 20\n" in done.err) == (5, True)
    assert virc("unpack", archive, "--max-files", "20").code == 0
