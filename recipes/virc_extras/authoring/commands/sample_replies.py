"""Sample replies of a model, each given as text or as a file, and a line for each call."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from virc.core.errors import DataError, errors_as

if TYPE_CHECKING:
    from virc_extras.authoring.reply_reading import ReadCall

_MAX_REPLY = 20_000
_MAX_BYTES = 2**20
_FILE = re.compile(r"[\w./~+-]+\.(?:txt|md|json|log)|(?:\.{0,2}|~)/[\w./~+-]*")
"""What looks like the name of a file."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def replies_of(given: list[str] | None) -> list[str]:
    return [_checked(_text(each), number) for number, each in enumerate(given or (), 1)]


def reply_in(file: Path) -> str:
    from virc.core.files import contents, expanded

    with errors_as(DataError, f"the reply {file} cannot be read", caught=(OSError, UnicodeDecodeError)):
        return contents(expanded(file), _MAX_BYTES).decode("utf-8-sig")


def _text(given: str) -> str:
    from virc.core.files import expanded, is_file

    is_named = "\n" not in given and (is_file(expanded(given)) or _FILE.fullmatch(given))
    return reply_in(Path(given)) if is_named else given


def _checked(text: str, number: int) -> str:
    text = text.replace("\r\n", "\n").strip("\n")
    if not text.strip():
        raise DataError(f"reply {number} is empty")
    if len(text) > _MAX_REPLY:
        raise DataError(f"reply {number} has {len(text):,} characters, and {_MAX_REPLY:,} are read", "a shorter one")
    if found := _CONTROL.search(text):
        raise DataError(f"reply {number} holds the control character U+{ord(found[0]):04X}")
    return text


def call_line(call: "ReadCall") -> str:
    import json

    if call.tool is None:
        return f"cannot be carried out: {call.reason}"
    of = f" of image {call.image}" if call.image is not None else ""
    of += f", shown at {call.size[0]} x {call.size[1]}" if call.size else ""
    box = f": box {list(call.box)}" if call.box else ""
    box += f", of the file {list(call.cut)}" if call.cut else ""
    rest = "".join(f", {name} {json.dumps(value, ensure_ascii=False)}" for name, value in call.arguments.items())
    forgiven = f" ({', '.join(call.deviations)})" if call.deviations else ""
    return f"{call.tool}{of}{box}{rest}{forgiven}"
