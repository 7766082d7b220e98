"""`virc unpack`: extract an archive into a folder."""

from pathlib import Path
from typing import Annotated

from virc.core.errors import UsageError
from virc.core.text import sized
from virc_cli.console import events, output
from virc_cli.console.options import Json, argument, flag, option

FAILURE: dict[str, object] = {"to": None, "files": None, "bytes": None, "skipped": None, "removed": None}


def command(
    archives: Annotated[list[Path], argument("ARCHIVE", ".tar, .tar.gz, .tar.lz4, .zip, or all parts; - reads it.")],
    to: Annotated[Path | None, option("DIR", "Target folder; default: the archive's own.")] = None,
    remove: Annotated[bool, flag("--remove", "Delete the archive when all is on disk.")] = False,
    max_ratio: Annotated[float, option("N", "Most bytes unpacked for each byte of the archive.", min=1)] = 100,
    max_bytes: Annotated[int | None, option("BYTES", "Most bytes to write; default: the free disk.", min=0)] = None,
    max_files: Annotated[int, option("N", "Most files, folders and links.", min=1)] = 2_000_000,
    encoding: Annotated[
        str | None, option("NAME", "Encoding of names, such as gbk; default: UTF-8, or a guess.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Extract a .tar, .tar.gz, .tar.lz4 or .zip archive.

    Parts of a split archive are joined in the order of their names: `virc unpack images.tar.lz4.part*`. With - it comes
    from the standard input.

    The folder is printed. After an interruption, run it again: what is complete is compared and skipped. Nothing is
    overwritten, and nothing is written outside the folder. Of an archive with one checksum behind all of it, a rerun
    with the right archive replaces what a damaged one left.
    """
    from virc.unpack.unpack import UnpackConfig, unpack

    if encoding is not None:
        _check_encoding(encoding)
    archive, *more = archives
    config = UnpackConfig(archive, to, remove, max_ratio, max_bytes, max_files, tuple(more), encoding)
    with events.shown() as show:
        done = unpack(config, lambda at, size: show(f"{sized(at)} of {sized(size)} of the archive"))
    there = f", {done.skipped} were already there" if done.skipped else ""
    output.note(f"{done.files} files, {sized(done.bytes)}{there}")
    for warning in done.guessed:
        output.warn(warning, "--encoding says in what they are")
    for warning in done.warnings:
        output.warn(warning)
    if remove:
        output.note(f"kept {archive}: {done.kept}" if done.kept else f"removed {archive}")
    counts = {"files": done.files, "bytes": done.bytes, "skipped": done.skipped}
    fields = {"to": str(done.to), **counts, "removed": done.removed}
    output.result(as_json, "virc.unpack/1", fields, [str(done.to)])


def _check_encoding(name: str) -> None:
    import codecs

    try:
        codecs.lookup(name)
    except (LookupError, ValueError):
        raise UsageError(f"there is no encoding {name!r}", "such as gbk, shift_jis, big5 or euc_kr") from None
