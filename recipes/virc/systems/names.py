"""How systems and models on the hub are named."""

import re
from typing import Annotated

from msgspec import Meta

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,49}\Z"
Name = Annotated[
    str,
    Meta(pattern=NAME_PATTERN, description="at most 50 letters, digits, `-`, `_`, `.` or `+`, a letter or digit first"),
]
"""Runs and folders are named after systems and stages; commas separate overlays."""
NAMED = re.compile(r"^name: ([A-Za-z0-9][\w.+-]*)\s*$", re.MULTILINE)
"""Where a system's YAML says its name; faster than parsing it."""

HUB_ID = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}/[A-Za-z0-9_][A-Za-z0-9_.-]{0,95}"
"""What a hub id looks like, as a regular expression."""
HubId = Annotated[str, Meta(pattern=rf"^{HUB_ID}\Z", description="a hub id, OWNER/NAME")]

Commit = Annotated[str, Meta(pattern=r"^[0-9a-f]{40}\Z", description="a commit, 40 hexadecimal digits")]
