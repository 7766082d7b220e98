"""The layout that a file of rows shows, as YAML to be changed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from virc.core.errors import DataError, VircError
from virc.core.files import write_whole, writing
from virc.data.formats import published
from virc.data.formats.registry import PUBLISHED, LaidOut, RowsFile
from virc.data.rows import raw
from virc.solving.sources.meanings import TEXT
from virc.systems.layouts.layout import ColumnPart, Layout, shown

_HEAD = "# The layout of {name}, as its first rows show it; the page *Data* has all fields.\n"


class Proposed(msgspec.Struct, frozen=True):
    """A proposal for a file, the format to write its rows in, and the layout as YAML, empty without one."""

    proposal: published.Proposal
    written_as: str = "batch"
    yaml: str = ""


def proposed(path: Path) -> Proposed:
    if not path.exists():
        raise DataError(f"there is no file {path}")
    if not raw.beginning(path, 1):
        raise raw.fault(path) or DataError(f"{path} holds no rows that can be read")
    found = published.proposal(path)
    if found.layout is None:
        return Proposed(found)
    source = RowsFile(path, PUBLISHED, path.stem, {}, LaidOut("proposed", found.layout))
    return Proposed(found, source.written_as, yaml_of(found, path.name))


def write(found: Proposed, to: Path) -> None:
    if not found.yaml:
        raise DataError(found.proposal.unsure[0])
    if to.exists():
        raise VircError(f"{to} exists")
    with writing(to):
        write_whole(to, found.yaml.encode())


def yaml_of(found: published.Proposal, name: str) -> str:
    assert found.layout
    fields = {key: value for key, value in msgspec.to_builtins(found.layout).items() if value != _DEFAULTS.get(key)}
    reasons = {name: reason for name, _, reason in (each.partition(": ") for each in found.reasons)}
    lines = [_HEAD.format(name=json.dumps(name))]
    for key, value in fields.items():
        comment = reasons.get(key, "").rpartition(", as ")[2]
        lines.append(f"{key}: {_flow(value)}" + (f"  # {comment}" if comment else "") + "\n")
    if found.unsure:
        lines += ["unsure:  # no rows are read by this file before these lines are removed\n"]
        lines += [f"  - {_flow(reason)}\n" for reason in found.unsure]
    texts = [name for name, holds in found.unread.items() if holds == TEXT]
    if texts and (asked := found.layout.question):
        asked = asked.text if isinstance(asked, ColumnPart) and asked.text else f"{{{shown(asked)}}}"
        text = "\n".join((*(f"{{{name}}}" for name in texts), asked))
        lines.append(f"# question: {_flow({'text': text})}  # in place of that above, where a text belongs before it\n")
    if found.unread:
        lines.append(f"# ignore: {_flow(list(found.unread))}  # nothing reads these: name those that are no loss\n")
    return "".join(lines)


_DEFAULTS: Mapping[str, Any] = msgspec.to_builtins(Layout(about="-", question="-")) | {"about": None, "question": None}


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        value = {key: each for key, each in value.items() if each not in (None, (), [], "", {})}
    return json.dumps(value, ensure_ascii=False)
