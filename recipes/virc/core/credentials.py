"""Keys and tokens of the environment, which are kept from services that show a process's variables.

Ray shows the variables of jobs and workers on its pages and keeps them in its logs. Processes on other machines get
keys from a file that only its owner can read (`FILE`).
"""

import json
import os
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from virc.core.errors import UNREADABLE, ConfigError, errors_as
from virc.core.files import expanded

FILE = "VIRC_CREDENTIALS"
"""The variable that names the file."""
HIDDEN = "VIRC_HIDDEN"
"""The variable with the comma-separated names of further variables that hold keys."""
_MAX_KEY = 4096
_SECRET = re.compile(r"(^|_)((API)?KEY|TOKEN|SECRET|PASS|PASSWD|PAT)(_|$)|PASSWORD(_|$)")


def is_secret(name: str) -> bool:
    """Whether a variable of that name holds a key, a token or a password, by its name or by `HIDDEN`."""
    return bool(_SECRET.search(name)) or name in os.environ.get(HIDDEN, "").split(",")


def hidden(values: Mapping[str, str]) -> dict[str, str]:
    """The variable `HIDDEN` for keys of an environment; none where there are no keys."""
    return {HIDDEN: ",".join(sorted(values))} if values else {}


def key_of(named: str) -> str | None:
    """Return the key that an option names as `env:NAME` or `file:PATH`; None: the option is the key itself.

    Raises:
        ConfigError: there is no key, or users other than the file's owner can read it.
    """
    scheme, _, place = named.partition(":")
    if scheme == "env":
        key = os.environ.get(place, "").strip()
        if not key:
            raise ConfigError(f"«--api-key {named}»: the variable {place} is not set", f"export {place}=...")
        return key
    return _key_in(expanded(place)) if scheme == "file" else None


def _key_in(file: Path) -> str:
    with errors_as(ConfigError, f"«--api-key»: {file} cannot be read", caught=UNREADABLE), file.open("rb") as opened:
        readable_by_others = os.name == "posix" and os.fstat(opened.fileno()).st_mode & 0o077
        key = opened.read(_MAX_KEY + 1).decode("ascii").strip()
    if readable_by_others:
        raise ConfigError(f"«--api-key»: other users can read or change {file}", f"chmod 600 {shlex.quote(str(file))}")
    if not 0 < len(key) <= _MAX_KEY or len(key.split()) > 1:
        raise ConfigError(f"«--api-key»: {file} must hold one key on one line")
    return key


def write(file: Path, values: Mapping[str, str]) -> None:
    file.unlink(missing_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(json.dumps(dict(values)), encoding="utf-8")


def load() -> None:
    """Set the variables of the file that `FILE` names, if it exists; variables that are already set are kept."""
    try:
        text = Path(os.environ[FILE]).read_text(encoding="utf-8")
    except (KeyError, FileNotFoundError):
        return
    for name, value in json.loads(text).items():
        os.environ.setdefault(name, value)
