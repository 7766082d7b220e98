"""Keys and tokens of the environment, which no service that shows a process's variables may get.

Ray shows the variables of jobs and workers on its pages and keeps them in its logs. Processes on other machines get
keys by a file that its owner alone can read (`FILE`).
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

FILE = "VIRC_CREDENTIALS"
"""The variable that names the file."""
HIDDEN = "VIRC_HIDDEN"
"""The variable with the names, a comma between two, of further variables that are keys though they are not named so."""
_SECRET = re.compile(r"_(KEY|TOKEN|SECRET|PASSWORD)(_|$)")


def is_secret(name: str) -> bool:
    """Whether a variable of that name holds a key, a token or a password, by its name or by `HIDDEN`."""
    return bool(_SECRET.search(name)) or name in os.environ.get(HIDDEN, "").split(",")


def hidden(values: Mapping[str, str]) -> dict[str, str]:
    """The variable `HIDDEN` for keys of an environment; none where there are no keys."""
    return {HIDDEN: ",".join(sorted(values))} if values else {}


def write(file: Path, values: Mapping[str, str]) -> None:
    """Write variables to a file that only its owner can read."""
    file.unlink(missing_ok=True)
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(json.dumps(dict(values)), encoding="utf-8")


def load() -> None:
    """Take the variables of the file, where `FILE` names one that is there; what the process has already stays."""
    try:
        text = Path(os.environ[FILE]).read_text(encoding="utf-8")
    except (KeyError, FileNotFoundError):
        return
    for name, value in json.loads(text).items():
        os.environ.setdefault(name, value)
