"""A trace as a folder: the published conversation, our own record, the images and one page to look at.

    conversation.json   the published format: role, content, image file of every turn
    trace.json          `virc.trace/2`: chat protocol, sampling, token ids, units with rejected tries, failure
    image-N.png         every image as the model saw it
    index.html          all of it to read

The folder appears complete or not at all.
"""

import json
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from virc.core.errors import UsageError, VircError, errors_as
from virc.core.files import contents
from virc.core.text import clause
from virc.reasoning.images import Shown
from virc.reasoning.trace import Trace
from virc.solving.traces.page import render_page

SCHEMA = "virc.trace/2"
_MAX_BYTES = 256 * 2**20


class Kind(msgspec.Struct, frozen=True):
    """A kind of trace, as its folder is known again."""

    names: re.Pattern[str]
    record: str
    is_ours: Callable[[Mapping[str, object]], bool]


_OF_MODEL = Kind(
    re.compile(r"conversation\.json|trace\.json|index\.html|image-\d+\.png"),
    "trace.json",
    lambda record: record.get("schema") == SCHEMA,
)


def write_trace(folder: Path, trace: Trace, images: Sequence[Shown], meta: Mapping[str, object]) -> None:
    """Write a trace, finished or not, in place of a former one; all of `meta` is published: no secrets."""
    write_folder(folder, _contents(trace, images, meta), _OF_MODEL)


def write_folder(folder: Path, files: Mapping[str, bytes], kind: Kind) -> None:
    check_folder(folder, kind)
    with errors_as(VircError, f"cannot write the trace to {folder}"):
        whole = folder.resolve()
        whole.parent.mkdir(parents=True, exist_ok=True)
        _replace(whole, files)


def check_writable(folder: Path | None, what: str = "traces", hint: str = "«--trace out»") -> None:
    """Refuse a folder that cannot be made or written, before a model is paid for."""
    if folder is None:
        return
    with errors_as(VircError, f"cannot write {what} to {folder}", hint, caught=(OSError, ValueError)):
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        tempfile.TemporaryDirectory(prefix=".virc-", dir=there).cleanup()


def check_folder(folder: Path, kind: Kind = _OF_MODEL) -> None:
    try:
        with suppress(FileNotFoundError, NotADirectoryError):
            folder.stat()  # from Python 3.13 on, `resolve` and `is_dir` hide a loop or a name that no file can have
        fault = _fault(folder.resolve(), kind)
    except (OSError, RuntimeError, ValueError) as error:  # no right to look, a loop of links, a NUL in the name
        fault = f"cannot be looked into: {clause(error)}"
    if fault:
        raise UsageError(f"{folder} {fault}", hint="name a new folder: «--trace NEW_FOLDER»")


def document(trace: Trace, meta: Mapping[str, object]) -> dict[str, object]:
    """`trace.json` as a value: the trace, and `meta` next to it (JSON schema in `schemas/trace.json`)."""
    record: dict[str, object] = msgspec.to_builtins(trace)
    extra: dict[str, object] = msgspec.to_builtins(meta, enc_hook=str)
    if taken := (record.keys() | {"schema"}) & extra.keys():
        raise ValueError(f"meta may not set {', '.join(sorted(taken))}")
    return {"schema": SCHEMA, "model": None, "sampling": None, "versions": None} | extra | record


def conversation(trace: Trace) -> list[dict[str, object]]:
    """The published format: no system message; `images` is added to a turn that shows several."""
    turns = []
    for message in trace.messages:
        if message.role == "system":
            continue
        turn: dict[str, object] = {"role": message.role, "content": message.text}
        names = [trace.images[index].file for index in message.images]
        if names:
            turn["image"] = names[0]
        if len(names) > 1:
            turn["images"] = names
        turns.append(turn)
    return turns


def _contents(trace: Trace, images: Sequence[Shown], meta: Mapping[str, object]) -> dict[str, bytes]:
    pictures = {record.file: image.png for record, image in zip(trace.images, images, strict=True)}
    return pictures | {
        "conversation.json": _json(conversation(trace)),
        "trace.json": _json(document(trace, meta)),
        "index.html": render_page(trace, images, meta).encode(),
    }


def _json(value: object) -> bytes:
    # a lone surrogate, which UTF-8 cannot hold, becomes its JSON escape: nothing is lost
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2).encode("utf-8", "backslashreplace")


def _fault(folder: Path, kind: Kind) -> str | None:
    if Path.cwd().is_relative_to(folder):
        return "is the current folder or lies above it, and a trace would replace it"
    if not folder.exists():
        return None
    if not folder.is_dir():
        return "is a file, not a folder for a trace"
    entries = sorted(folder.iterdir())
    others = [path.name for path in entries if not (kind.names.fullmatch(path.name) and path.is_file())]
    if others:
        return f"holds something else than a trace: {others[0]}"
    found = None
    with suppress(OSError, ValueError, RecursionError):
        found = json.loads(contents(folder / kind.record, _MAX_BYTES)) if entries else None
    ours = not entries or (isinstance(found, dict) and kind.is_ours(found))
    return None if ours else "holds files that are no trace of virc"


def _replace(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Fill a sibling, then swap it in by renaming; the former trace is put back if that fails."""
    mark = secrets.token_hex(4)
    new, old = (folder.with_name(f".trace-{mark}.{kind}") for kind in ("new", "old"))
    new.mkdir()
    try:
        for name, content in contents.items():
            (new / name).write_bytes(content)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        shutil.rmtree(new, ignore_errors=True)
        raise
    shutil.rmtree(old, ignore_errors=True)
