"""Signatures of files by `ssh-keygen` (FILE.sig) or `minisign` (FILE.minisig)."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from virc.core.errors import ConfigError, NetworkError, SetupError, errors_as
from virc.core.files import contents, expanded
from virc.core.text import plain
from virc.evaluation.columns import Column
from virc.evaluation.request import EvalRequest

_NAMESPACE = "virc"
_FINGERPRINT = "SHA256:"


def tool_of(key: Path) -> str:
    with errors_as(ConfigError, f"the key {key} cannot be read", "ssh-keygen -t ed25519"):
        tool = "minisign" if contents(key, 2**20).startswith(b"untrusted comment:") else "ssh-keygen"
    if not shutil.which(tool):
        raise SetupError(f"{tool}, which signs with {key}, is not on this machine")
    return tool


def sign(file: Path, key: Path) -> None:
    """Sign a file with a private key; the tool asks for its passphrase. Raises ConfigError, SetupError: it cannot."""
    file.with_name(f"{file.name}.sig").unlink(missing_ok=True)  # ssh-keygen would ask whether to write over it
    tool = tool_of(key)
    ssh = (tool, "-Y", "sign", "-n", _NAMESPACE, "-f", key, file)
    done, said = _run(ssh if tool == "ssh-keygen" else (tool, "-S", "-s", key, "-m", file))
    if not done:
        raise ConfigError(f"{file} was not signed with {key}: {said}")


def check_signature(file: Path, signer: str | None) -> str | None:
    """The signer of a file, in the words of the tool; None if the file is not signed and `signer` is None.

    Args:
        signer: the required signer: the fingerprint of an OpenSSH key (SHA256:...), or a public key of minisign.
    """
    endings = {"ssh-keygen": ".sig", "minisign": ".minisig"}
    of_ssh = bool(signer and signer.startswith(_FINGERPRINT))
    tools = endings if not signer else ["ssh-keygen" if of_ssh else "minisign"]
    tool = next((each for each in tools if file.with_name(file.name + endings[each]).is_file()), None)
    if tool is None:
        if signer:
            kind = "key of OpenSSH" if of_ssh else "key of minisign (of OpenSSH, SHA256:... is needed)"
            raise NetworkError(f"it is not signed with a {kind}")
        return None
    if not signer and (tool == "minisign" or not shutil.which(tool)):
        return f"by {tool}, not checked: --signer KEY" if shutil.which(tool) else f"by {tool}, which is not here"
    minisign = (tool, "-V", "-P", signer or "", "-m", file)
    keygen = (tool, "-Y", "check-novalidate", "-n", _NAMESPACE, "-s", file.with_name(f"{file.name}.sig"))
    done, said = _run(keygen if tool == "ssh-keygen" else minisign, file.read_bytes())
    if not done:
        raise NetworkError(f"its signature is not of this file: {said}")
    if of_ssh and [each for each in said.split() if each.startswith(_FINGERPRINT)] != [signer]:
        raise NetworkError(f"it is signed by another than {signer}: {said}")
    return said


def _run(words: Sequence[str | Path], given: bytes | None = None) -> tuple[bool, str]:
    with errors_as(SetupError, f"{words[0]} is not on this machine"):
        done = subprocess.run(words, input=given, capture_output=True, check=False)
    return not done.returncode, plain((done.stdout or done.stderr).decode(errors="replace").strip(), 200)


class Signed(Column):
    """A signature of each file of a result, without a figure."""

    def __init__(self, key: Path | None) -> None:
        self._key = key

    def on_file(self, path: Path) -> None:
        if self._key:
            sign(path, self._key)


def column(given: str | None, request: EvalRequest) -> Column:
    key = expanded(given) if given else None
    if key:
        tool_of(key)  # a key that is not there is refused at once
    return Signed(key)
