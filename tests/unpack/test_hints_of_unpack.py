"""What `virc unpack` says to type next works: each hint is typed back."""

from pathlib import Path

from archives import file, tar
from support.called import virc


def test_too_many_files_lead_to_the_limit(tmp_path: Path) -> None:
    archive = tmp_path / "a.tar"
    archive.write_bytes(tar(file("a"), file("b"), file("c")))
    done = virc("unpack", archive, "--max-files", "2")
    assert (done.code, "\nhint: --max-files 20\n" in done.err) == (5, True)
    assert virc("unpack", archive, "--max-files", "20").code == 0
