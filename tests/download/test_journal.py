"""The notes about the parts of a file."""

import resource
from pathlib import Path

import pytest

from virc.download.hub.ranged import Part, append_parts, noted_parts


def test_a_disk_that_takes_half_of_the_lines_is_an_error(tmp_path: Path) -> None:
    parts = [Part(at, 1, 0) for at in range(100)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            append_parts(tmp_path / "notes", parts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    kept = noted_parts(tmp_path / "notes")
    assert 0 < len(kept) < len(parts)
    assert kept == parts[: len(kept)]
