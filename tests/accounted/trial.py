"""An ordinary input of virc as plain values, and the effect of running virc on it in this process.

A world is what virc meets: `files` by name, a `server` with what it replies, variables (`env`), and the command (`run`)
or another way in (`agent`, `mcp`, `merge`). Names of keys may have a mark: `~json`: its value is JSON in a text;
`~first`: the key comes twice in its object, here for the first time. The text `made:NAME` is a file of `made.py`.
"""

import csv
import io
import json
import re
import shlex
import sys
import tarfile
import urllib.error
import urllib.request
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, chdir, redirect_stdout
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from accounted import made
from support import row_files, servers
from support.called import virc

World = Mapping[str, Any]
_SCRUBBED = frozenset({"created", "id", "input", "row", "rows_bytes", "seconds", "session", "time", "trace_id"})
"""Keys of output that differ between two runs, or that only repeat the input."""
_MESSAGES = frozenset({"faults", "first", "ignored", "left", "message_keys", "reasons", "unread_columns", "warnings"})
"""Keys of output that hold sentences, or names of what is not used."""


class Effect(NamedTuple):
    """What came of a run: `told` are the sentences, `done` is all else that was written, sent or answered."""

    code: int
    told: frozenset[str]
    done: str


def run(world: World, folder: Path) -> Effect:
    """Write the files of a world into a new folder, and run virc there."""
    for name, content in world.get("files", {}).items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write(file, content)
    given = {each: each.stat().st_mtime_ns for each in folder.rglob("*")}
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        stack.enter_context(chdir(folder))
        own = {"VIRC_CACHE": str(folder / ".cache"), "VIRC_CONFIG": str(folder / "config.yaml"), "HOME": str(folder)}
        for name, value in {**own, **world.get("env", {})}.items():
            patch.setenv(name, str(value))
        server = stack.enter_context(_serving(world["server"])) if "server" in world else None
        code, told, out = _ways_in(world)(world, server.url if server else "")
        chats = [plain(each) for each in server.chats()] if server else []
    files = {each for each in folder.rglob("*") if each.is_file() and given.get(each) != each.stat().st_mtime_ns}
    written = {str(each.relative_to(folder)): _content(each) for each in sorted(files) if ".cache" not in each.parts}
    sentences, shown = set(told), list[Any]()
    for value in out:
        shown.append(_scrubbed(value, sentences))
    done = json.dumps([shown, chats, written], default=str, sort_keys=True)
    places = {str(folder): "DIR"} | ({server.url.removesuffix("/v1"): "URL"} if server else {})
    return Effect(code, frozenset(_placed(each, places) for each in sentences), _placed(done, places))


def _ways_in(world: World) -> Callable[[World, str], tuple[int, list[str], list[Any]]]:
    return next((way for name, way in WAYS.items() if name in world), _command)


def _command(world: World, url: str) -> tuple[int, list[str], list[Any]]:
    words = [word.replace("URL", url) for word in shlex.split(world["run"])] + world.get("options", [])
    code, out, err = virc(*words)
    return code, [line for line in err.splitlines() if line.strip()], [*_values(out)]


def _values(text: str) -> Iterator[Any]:
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            yield line


def _merge(world: World, url: str) -> tuple[int, list[str], list[Any]]:
    """The command, whose process merges here: to start it takes longer than all the rest."""
    from virc.core import processes
    from virc.engines.merge import adapter, common

    def output(step: Any, on_line: Callable[[str], None] = lambda line: None) -> str:
        printed = io.StringIO()
        with redirect_stdout(printed), pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["merge", *step.argv[3:]])
            common.run(adapter.merge)
        return printed.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(processes, "output", output)
        return _command({**world, "run": world["merge"]}, url)


def _agent(world: World, url: str) -> tuple[int, list[str], list[Any]]:
    """A request to an agent endpoint in front of the scripted server."""
    from serving.agent.agent_server import listening

    from virc.backends.chat.backend import OpenAIBackend

    backend = OpenAIBackend(url, max_retries=0, timeout=60)
    with listening(backend, served={"answers": backend.link.answers}) as running:
        request = urllib.request.Request(f"{running.url}/chat/completions", json.dumps(plain(world["agent"])).encode())
        try:
            with urllib.request.urlopen(request, timeout=60) as said:
                status, headers, body = 0, said.headers, said.read()
        except urllib.error.HTTPError as error:
            status, headers, body = error.code, error.headers, error.read()
    backend.close()
    told = [f"{name}: {value}" for name, value in headers.items() if name.lower().startswith("x-")]
    return status, told + ([body.decode()] if status else []), [*_values(body.decode())]


def _mcp(world: World, url: str) -> tuple[int, list[str], list[Any]]:
    """A call of a tool of the MCP server, with the official client."""
    from extras.mcp.mcp_server import called, tool_calls

    result = called(tool_calls([Path()], url), world["tool"], **plain(world["mcp"]))
    parts: list[Any] = [*result.content]
    texts = [getattr(part, "text", None) or f"{len(part.data)} bytes" for part in parts]
    return int(bool(result.is_error)), texts if result.is_error else [], texts


WAYS: Mapping[str, Callable[[World, str], tuple[int, list[str], list[Any]]]] = {
    "agent": _agent, "mcp": _mcp, "merge": _merge,
}  # fmt: skip


def _serving(server: World) -> Any:
    def answer(exchange: servers.Exchange) -> None:
        if "events" in server:
            exchange.start_events()
            for event in plain(server["events"]):
                exchange.send_event(event)
            exchange.send_chunk(b"data: [DONE]\n\n")
            exchange.send_chunk(b"")
        else:
            exchange.send_json(plain(server["reply"]), server.get("status", 200))

    options: dict[str, Any] = {"fault": answer} if server.keys() & {"events", "reply"} else {}
    return servers.serve(server.get("turns", ()), **options, extra=plain(server.get("model", {})))


def plain(value: Any) -> Any:
    """A value as JSON has it: marks of keys and names of made files are gone."""
    if isinstance(value, dict):
        fields = dict[str, Any]()
        for key, each in value.items():
            name, _, mark = key.partition("~") if isinstance(key, str) else (key, "", "")
            fields[key if mark == "first" else name] = json.dumps(plain(each)) if mark == "json" else plain(each)
        return fields
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and value.startswith(("made:", "url:")):
        kind, _, name = value.partition(":")
        return made.made(name) if kind == "made" else made.data_url(name)
    return value


def _json(value: Any) -> str:
    return re.sub(r'~first(?=": )', "", json.dumps(plain(value)))


def write(file: Path, content: Any) -> None:
    """Write a file, in the form of its ending."""
    ending, value = file.suffix, plain(content)
    if isinstance(content, str):
        file.write_bytes(_bytes(value))
    elif ending == ".jsonl":
        file.write_text("".join(_json(row) + "\n" for row in content))
    elif ending == ".parquet":
        row_files.parquet(file, value)
    elif ending == ".csv":
        with file.open("w", newline="") as opened:
            rows = csv.DictWriter(opened, [*dict.fromkeys(name for row in value for name in row)])
            rows.writeheader()
            rows.writerows(value)
    elif ending == ".tar":
        with tarfile.open(file, "w") as archive:
            for member in value:
                info, data = tarfile.TarInfo(member["name"]), _bytes(member.get("data", ""))
                info.size = len(data)
                for name, each in member.get("header", {}).items():
                    setattr(info, name, each.encode() if name == "type" else each)
                archive.addfile(info, io.BytesIO(data))
    elif ending == ".zip":
        with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings(action="ignore"):  # a name comes twice
            for member in value:
                about = zipfile.ZipInfo(member["name"])
                for name, each in member.get("header", {}).items():
                    setattr(about, name, each.encode() if name in ("comment", "extra") else each)
                archive.writestr(about, _bytes(member.get("data", "")))
    else:
        file.write_text(_json(content))  # of YAML, too, which JSON is


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()


def _content(file: Path) -> Any:
    if file.suffix in (".json", ".jsonl"):
        return [_scrubbed(each, set()) for each in _values(file.read_text())]
    data = file.read_bytes()
    return data.decode(errors="replace") if len(data) < 2**16 else hash(data)


def _scrubbed(value: Any, told: set[str]) -> Any:
    """A value of output without what is no effect; its sentences are added to those that were told."""
    if isinstance(value, list):
        return [_scrubbed(each, told) for each in value]
    if not isinstance(value, dict):
        return value
    told |= {f"{key}: {json.dumps(each)}" for key, each in value.items() if key in _MESSAGES and each}
    return {key: _scrubbed(each, told) for key, each in value.items() if key not in _SCRUBBED | _MESSAGES}


def _placed(text: str, places: Mapping[str, str]) -> str:
    for place, name in places.items():
        text = text.replace(place, name)
    return text
