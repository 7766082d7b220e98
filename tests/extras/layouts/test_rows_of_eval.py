"""`virc eval` refuses rows of which a layout reads more than `virc batch` does."""

from pathlib import Path

import pytest
from support.called import virc
from support.servers import dead_url
from support.solving import picture
from support.tables import each_case


@each_case(
    ("row", "message", "hint"),
    [
        ("image,question,choices,answer\na.png,what?,red; blue,0\n", "a layout reads more", "virc data convert"),
        ("image,question,hint,answer\na.png,what?,look,1\n", "a layout reads more", "virc data convert"),
        ("image,question,Answer\na.png,what?,1\n", "a layout reads more", "virc data convert"),
        ("image,ask,answer\na.png,what?,1\n", "no column is known as the question", "name the columns `image`"),
        ("image,question\na.png,what?\n", "it has no answer to compare", ""),
    ],
)
def test_rows_that_a_layout_reads_otherwise_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, message: str, hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    picture(tmp_path / "a.png")
    (tmp_path / "rows.csv").write_text(row)
    done = virc("eval", "rows.csv", "--endpoint", dead_url())
    assert done.code == 5
    assert message in done.err
    assert hint in done.err
