"""Which files of remote tools may send values of the environment to their server.

A file of somebody else can name any variable, as `${HF_TOKEN}`, and any address. So a user allows each file once, by
its content: a changed file is another one.
"""

import hashlib
import os
import shlex
from collections.abc import Collection, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from virc.config.user import config_path
from virc.core.errors import ConfigError, errors_as
from virc.core.files import is_path, read_json, write_json
from virc.remote.described import SECRET, Described

VARIABLE = "VIRC_ALLOWED_TOOLS"
"""The variable with digests of allowed files, a comma between two; for processes without this user's settings."""
_MAX_BYTES = 2**20


class Permission(msgspec.Struct, frozen=True):
    """What a file of a tool wants to send.

    Args:
        digest: SHA-256 of its content.
        to: host of its address, or its command.
        secrets: names of the variables that it sends there.
    """

    file: str
    digest: str
    to: str
    secrets: tuple[str, ...]

    def check(self) -> None:
        """Raise ConfigError where the file sends variables and has not been allowed to."""
        if (
            self.secrets
            and self.digest not in os.environ.get(VARIABLE, "").split(",")
            and self.digest not in _allowed()
        ):
            sentence = f"{self.file} would send {', '.join(self.secrets)} to {self.to}, which you have not allowed"
            raise ConfigError(sentence, f"virc tools allow {shlex.quote(self.file)}")


def variables_wanted(file: Path, content: bytes, described: Described) -> Permission:
    server = described.http or described.mcp
    assert server
    texts = [*server.headers.values(), *(described.mcp.env.values() if described.mcp else ())]
    names = {name for text in texts for name in SECRET.findall(text)}
    to = urlsplit(server.url).netloc if server.url else shlex.join(described.mcp.command if described.mcp else ())
    return Permission(str(file), hashlib.sha256(content).hexdigest(), to, tuple(sorted(names)))


def allow(permission: Permission, named: Collection[str]) -> None:
    """Allow a file, as it is now, to send its variables.

    Args:
        named: variables that the user named: which of them are keys of other services, no list knows.

    Raises:
        ConfigError: it sends a variable that was not named, or the settings cannot be written.
    """
    if others := [name for name in permission.secrets if name not in named]:
        sentence = f"{permission.file} would send {', '.join(others)} to {permission.to}: name what it may have"
        options = " ".join(f"--secret {name}" for name in permission.secrets)
        raise ConfigError(sentence, f"virc tools allow {shlex.quote(permission.file)} {options}")
    file = _place()
    with errors_as(ConfigError, f"{file} cannot be written"):
        write_json(file, {**_allowed(), permission.digest: permission})


def _place() -> Path:
    return config_path(os.environ).with_name("allowed_tools.json")


def _allowed() -> Mapping[str, Permission]:
    file = _place()
    hint = f"rm {shlex.quote(str(file))}"
    return read_json(file, dict[str, Permission], _MAX_BYTES, hint) if is_path(file) else {}
