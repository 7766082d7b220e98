"""Prints which files of a dataset are not on this machine."""

from collections.abc import Iterable
from pathlib import Path

from virc_cli.console import output


def note(paths: Iterable[Path]) -> None:
    """Print on stderr which files the `dataset_info.json` of folders names that are not there, one line a folder.

    Raises:
        DataError: there are no rows at a path.
    """
    from virc.data.formats.registry import left_out_note

    for path in dict.fromkeys(paths):
        if text := left_out_note(path):
            output.note(text)
