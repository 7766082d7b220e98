"""What of a dataset is not on this machine, said where its rows are read."""

from collections.abc import Iterable
from pathlib import Path

from virc_cli.console import output

_MOST_NAMED = 3


def note(paths: Iterable[Path]) -> None:
    """Say on stderr which files the `dataset_info.json` of folders names that are not there, one line a folder.

    Raises:
        DataError: there are no rows at a path.
    """
    from virc.data.formats.registry import INFO, left_out

    for path in dict.fromkeys(paths):
        gone = left_out(path)
        if gone:
            named = ", ".join(gone[:_MOST_NAMED]) + ", …" * (len(gone) > _MOST_NAMED)
            files = f"{len(gone)} files that are" if len(gone) > 1 else "a file that is"
            output.note(f"{path / INFO} names {files} not there: {named}")
