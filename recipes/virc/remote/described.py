"""What the YAML file of a remote tool may hold."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from virc.config import validation
from virc.config import yaml as plain_yaml
from virc.core.errors import ConfigError
from virc.core.limits import bounded
from virc.core.text import plain
from virc.reasoning.bodies import BOX, INDEX, POINT, POINTS

SECRET = re.compile(r"\$\{(\w+)\}")

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

_ABOUT_IMAGES = {INDEX, BOX, POINT, POINTS}
_HIDDEN = re.compile(r"authorization|cookie|key|token|secret", re.IGNORECASE)
_Count = Annotated[int, msgspec.Meta(ge=1, le=1000)]


class ReplySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is taken from a reply over HTTP.

    A path names keys of objects and numbers of list items, separated by dots; `*` means each item of a list.

    Args:
        text: text for the model, with `{path}` for a value; `{}` is the whole reply. A list of texts is written one a
            line, all but texts as JSON. Unset: the whole reply, unless `images` is set.
        images: path of an image in base64 or as a data URL, or of a list of them.
    """

    text: str | None = None
    images: str | None = None


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A server that gets a POST request for each call.

    Args:
        url: its address. Redirects are not followed.
        headers: sent with each request; `${NAME}` is that environment variable.
        send: `json`, or `multipart` as a form with files.
        body: what is sent; `{name}` is the argument of that name, `{image}` the image, `{crop}` its part in the box,
            `{width}` and `{height}` those of the image. Unset: all arguments but `image_index`, and `image`.
        images: how images are written in JSON.
        result: what is taken from the reply.
    """

    url: str
    headers: Mapping[str, str] = {}
    send: Literal["json", "multipart"] = "json"
    body: dict[str, Any] | None = None
    images: Literal["base64", "data_url"] = "base64"
    result: ReplySettings = ReplySettings()


class Mcp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An MCP server, as a command that is started once for each process, or behind an address.

    Args:
        tool: name of its tool.
        command: program and arguments, without a shell. Its environment has `PATH`, `HOME` and `env` alone.
        url: address of a server over streamable HTTP, in place of `command`.
        cwd: folder the command is run in, from that of the file.
        env: variables for the command; `${NAME}` is that environment variable.
        headers: of requests to `url`, as of `http`.
        arguments: what the tool is sent; written as `body` of `http`.
        images: how images are written.
    """

    tool: str
    command: tuple[str, ...] = ()
    url: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    arguments: dict[str, Any] | None = None
    images: Literal["base64", "data_url"] = "base64"


class Described(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool whose calls a server carries out.

    Args:
        description: of the function, for the model.
        parameters: JSON schema of its arguments. `image_index`, `bbox_2d`, `point_2d` and `points` are read as those of
            every tool and sent in pixels; `{unit}` in a text becomes the unit of the chat protocol.
        name: of the function; unset: the name of the file.
        http: a server that gets a POST request for each call.
        mcp: a server of the Model Context Protocol, in place of `http`.
        seconds: time limit of one call.
        at_once: most concurrent calls of one process; further calls wait.
        cache: reuse a result for the same arguments and pixels.
        most_characters: of a text; the rest is cut off, and a note says so.
        most_images: of one result; a note says if there were more.
        failure: the result that the model gets if the server fails; `{error}` is the reason.
    """

    description: str
    parameters: dict[str, Any]
    http: Http | None = None
    mcp: Mcp | None = None
    name: str | None = None
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] = 30.0
    at_once: _Count = 4
    cache: bool = True
    most_characters: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 8000
    most_images: _Count = 4
    failure: str = "The tool failed: {error}"


def read_described(file: Path) -> Described:
    return parse(plain_yaml.read_text(file), file)


def parse(text: str, file: Path) -> Described:
    """What the text of a file describes. Raises ConfigError: it describes no remote tool."""
    content = plain_yaml.parse(text, str(file))
    for fault in validation.faults(content, Described):
        line = next((line for path, line in plain_yaml.lines(text).items() if path == tuple(fault.path)), None)
        raise ConfigError(f"{file}{f':{line}' if line else ''}: {fault.message}", fault.hint)
    described = msgspec.convert(content, Described, strict=False)
    if reason := _fault(described, file.stem):
        raise ConfigError(f"{file}: {reason}")
    return described


def is_about_images(described: Described) -> bool:
    return bool(_ABOUT_IMAGES & described.parameters.get("properties", {}).keys())


def _fault(described: Described, stem: str) -> str | None:
    name = described.name or stem
    if not name.isidentifier():
        return f"{plain(name, 40)!r} is no name of a function"
    if wrong := _fault_of_schema(described.parameters):
        return f"parameters are no JSON schema of arguments: {wrong}"
    if (described.http is None) == (described.mcp is None):
        return "it needs http or mcp, one of the two"
    if described.mcp and bool(described.mcp.command) == bool(described.mcp.url):
        return "mcp needs command or url, one of the two"
    return _fault_of_server(described, described.http or described.mcp)


def _fault_of_server(described: Described, server: Http | Mcp | None) -> str | None:
    assert server
    variables, body = ({}, server.body) if isinstance(server, Http) else (server.env, server.arguments)
    return (
        (_fault_of_address(server.url) if server.url is not None else None)
        or _fault_of_headers(server.headers, variables)
        or _fault_of_body(described, body)
    )


def _fault_of_schema(schema: Mapping[str, Any]) -> str | None:
    if fault := bounded.schema_fault(schema):
        return plain(fault, 300)
    if schema.get("type") != "object":
        return "its type is not object"
    return None


def _fault_of_address(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"{plain(url, 100)!r} is no address"
    if parts.username or parts.password:
        return "the address holds a user and password; send them as a header, from an environment variable"
    if parts.scheme not in {"http", "https"} or not host or not re.fullmatch(r"[!-~]+", url):
        return f"{plain(url, 100)!r} is no address"
    return None


def _fault_of_headers(headers: Mapping[str, str], variables: Mapping[str, str]) -> str | None:
    for name, value in headers.items():
        if not re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.ASCII) or not re.fullmatch(r"[ -~]*", value):
            return f"the header {plain(name, 40)!r} holds characters that no header has"
    for name, value in (*headers.items(), *variables.items()):
        if _HIDDEN.search(name) and not SECRET.search(value):
            return f"{plain(name, 40)} has its value in the file; write ${{NAME}}, an environment variable"
    return None


def _fault_of_body(described: Described, body: Mapping[str, Any] | None) -> str | None:
    known = set(described.parameters.get("properties", {})) - {INDEX}
    known |= {"image", "width", "height"} if is_about_images(described) else set()
    known |= {"crop"} if BOX in known else set()
    for name in _placeholders(body):
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            return f"the body names {{{plain(name, 40)}}}, which a call of this tool does not have; there are: {names}"
    return None


def _placeholders(value: object) -> list[str]:
    if isinstance(value, str):
        return PLACEHOLDER.findall(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [name for each in inner for name in _placeholders(each)]
