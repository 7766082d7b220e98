"""The `virc serve` of this machine that has a model loaded already (setting `local_server`)."""

import hashlib
import re
import socket
import time
from pathlib import Path

import msgspec

from virc.backends.openai.body import ListedModel, WireError, read_models
from virc.core.text import plain
from virc.models.registry import Weights
from virc.reasoning.protocol import Protocol

SECONDS = 0.5
"""Longest wait for the server's list of models."""
_HOST = "127.0.0.1"  # no other machine is asked
_OF_A_MODEL = frozenset({".jinja", ".json", ".safetensors"})
_MAX_BYTES = 2**20


class Entry(msgspec.Struct, frozen=True):
    """Where a model is served, and what it is called there."""

    endpoint: str
    name: str


def fingerprint(weights: Weights) -> str:
    """A hash by which a model on this machine is known again: of the paths, sizes, times and inodes of its files.

    `virc serve` publishes it. It tells other machines nothing, and changes when a file is replaced.
    """
    found = hashlib.sha256()
    for file in _files(weights):
        state = file.stat()
        found.update(repr((str(file), state.st_size, state.st_mtime_ns, state.st_ino)).encode())
    return found.hexdigest()


def _files(weights: Weights) -> list[Path]:
    if weights.gguf:  # many of them may be in one folder
        return [weights.gguf.file.resolve(), weights.gguf.vision.resolve()]
    folders = [folder.resolve() for folder in (weights.folder, weights.adapter) if folder]
    found = [file for folder in folders for file in sorted(folder.iterdir()) if file.suffix in _OF_A_MODEL]
    return [file for file in found if file.is_file()]  # a link may lead nowhere


def find(weights: Weights, protocol: Protocol | None, port: int) -> tuple[Entry | None, str]:
    """The server on a port of this machine that has these very files loaded; else None, and why it is not used.

    It is asked once, for at most `SECONDS`, and gets no API key.

    Args:
        protocol: the chat protocol that it has to publish; None: any.
    """
    place = f"{_HOST}:{port}"
    try:
        served = _listed(port)
    except ConnectionRefusedError:
        return None, f"nothing listens on {place}"
    except TimeoutError:
        return None, f"{place} did not answer within {SECONDS:g} s"
    except (OSError, WireError):
        return None, f"{place} does not list its models"
    names = plain(", ".join(each.id for each in served[:8]))
    ours = fingerprint(weights)
    same = next((each for each in served if each.virc_weights == ours), None)
    if same is None:
        other = "another " if weights.name in (each.id for each in served) else ""
        return None, f"{place} serves {other}{names or 'nothing'}{'' if other else f', not {weights.name}'}"
    if protocol and not _is_spoken(same, protocol):
        return None, f"{place} serves {names} with another chat protocol"
    return Entry(f"http://{place}/v1", same.id), ""


def _is_spoken(served: ListedModel, protocol: Protocol) -> bool:
    return bool(served.virc_protocol == msgspec.json.decode(msgspec.json.encode(protocol)))


def _listed(port: int) -> list[ListedModel]:
    """The models that the server lists.

    Raises:
        WireError: it answers something else.
        OSError: it does not answer, or takes too long.
    """
    head, _, body = _answer(port).partition(b"\r\n\r\n")
    if not re.match(rb"HTTP/1\.\d 200\b", head):
        raise WireError("lists no models")
    return read_models([body])


def _answer(port: int) -> bytes:
    """What the server sends, at most `_MAX_BYTES`."""
    until = time.monotonic() + SECONDS
    answer = bytearray()
    with socket.create_connection((_HOST, port), SECONDS) as connection:
        # HTTP/1.0 (RFC 1945): the answer is not chunked, and ends with the connection
        connection.sendall(f"GET /v1/models HTTP/1.0\r\nHost: {_HOST}:{port}\r\n\r\n".encode())
        while len(answer) < _MAX_BYTES:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            piece = connection.recv(2**16)
            if not piece:
                break
            answer += piece
    return bytes(answer)
