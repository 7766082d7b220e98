"""Names that are none, or not two, on other systems: macOS and Windows fold case and Unicode forms, Windows reserves
some.
"""

import re
import unicodedata

from virc.core.text import plain

_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[1-9¹²³]|lpt[1-9¹²³])(?:\..*)?", re.IGNORECASE)
_SIGNS = re.compile(r'[<>:"|?*\\\x00-\x1f]|[ .]\Z')


class Elsewhere:
    """The names of an archive as other systems see them."""

    def __init__(self) -> None:
        self._names: dict[int, int] = {}  # hash of a name as it is folded -> of the name itself
        self._alike: list[str] = []
        self._reserved: list[str] = []

    def look(self, name: str) -> None:
        """Take a member's name; each is given once."""
        folded = hash(unicodedata.normalize("NFC", name).casefold())
        if self._names.setdefault(folded, hash(name)) != hash(name):
            self._alike.append(name)
        if any(_RESERVED.fullmatch(part) or _SIGNS.search(part) for part in name.split("/") if part):
            self._reserved.append(name)

    @property
    def warnings(self) -> list[str]:
        """A sentence for each kind of name that would go wrong."""
        found = []
        if self._alike:
            found.append(
                f"{_some(self._alike)} the same name as another but for case or Unicode form: one file on macOS "
                "and Windows"
            )
        if self._reserved:
            found.append(f"{_some(self._reserved)} a name that Windows does not take")
        return found


def _some(names: list[str]) -> str:
    """How many names there are, and the first."""
    first = plain(repr(names[0]), 80)
    return f"{first} has" if len(names) == 1 else f"{len(names)} files, such as {first}, have"
