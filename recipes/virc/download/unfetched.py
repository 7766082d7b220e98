"""Pictures that the rows of a dataset name and that did not come with it."""

import os
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from virc.core.errors import DataError, SetupError
from virc.core.files import is_file, is_folder
from virc.core.tables import parquet
from virc.data.rows import raw
from virc.solving.sources.picture_files import ENDINGS, ROWS

_ABSOLUTE = re.compile(r"[A-Za-z][\w+.-]*:|[/\\]")  # addresses, and paths of the author's machine
_MAX_FOLDERS = 64


def unfetched(root: Path, names: Sequence[str]) -> Iterator[str]:
    """A sentence for each of these files in `root` whose rows name pictures that are not there."""
    for name in names:
        file = root / name
        if file.suffix.lower() not in ROWS or not is_file(file):
            continue
        try:
            named = {each for row in _rows(file) for each in _pictures(row)}
        except (DataError, SetupError, OSError):
            continue  # what reads the rows says more of it
        places = [*dict.fromkeys((file.parent, root)), *_inner(file.parent), *_inner(root)]
        gone = sum(not any(is_file(place / each) for place in places) for each in named)
        if gone:
            verb = "is" if gone == 1 else "are"
            yield f"{gone:,} of {len(named):,} pictures named in {name} {verb} not here"


def _rows(file: Path) -> Iterator[Any]:
    """The rows of a file, without columns of bytes and what stands beside those, such as the path they once had."""
    if file.suffix.lower() != ".parquet":
        return (row for _, row in raw.rows(file))
    columns = parquet.column_names(file)
    holders = {name.rpartition(".")[0] for name, has_bytes in columns.items() if has_bytes and "." in name}
    wanted = [name for name, has_bytes in columns.items() if not has_bytes and name.rpartition(".")[0] not in holders]
    return (row for _, row in parquet.read_rows(file, wanted)) if wanted else iter(())


def _pictures(value: Any) -> Iterator[str]:
    """The paths of pictures in a value of a row."""
    if isinstance(value, str):
        if len(value) < 1024 and os.path.splitext(value)[1].lower() in ENDINGS and not _ABSOLUTE.match(value):  # noqa: PTH122
            yield value
    elif isinstance(value, dict) and not value.get("bytes"):
        yield from (name for each in value.values() for name in _pictures(each))
    elif isinstance(value, list):
        yield from (name for each in value for name in _pictures(each))


def _inner(folder: Path) -> list[Path]:
    """Folders in a folder: a layout may say that the paths of pictures start there."""
    return list(islice((each for each in folder.iterdir() if is_folder(each) and each.name[0] != "."), _MAX_FOLDERS))
