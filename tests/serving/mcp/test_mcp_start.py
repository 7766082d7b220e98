"""What `virc mcp` refuses before it serves."""

from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.serving.mcp import start
from virc.serving.mcp.result_store import ResultStore


def test_every_folder_that_was_named_is_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
    assert start._folders(["~/b", str(tmp_path / "a")]) == [tmp_path / "b", tmp_path / "a"]
    (tmp_path / "file").touch()
    for name, said in (("file", "is no folder"), ("none", "no such file")):
        with pytest.raises(UsageError, match=f"--folder {tmp_path / name}.*{said}"):
            start._folders([str(tmp_path / "a"), str(tmp_path / name)])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8000", ("127.0.0.1", 8000)), ("[::1]:1", ("::1", 1)), ("h:65536", None), ("h:0", None),
        (":80", None), ("h", None), ("http://h:80", None), ("h:80/mcp", None),
    ],
)  # fmt: skip
def test_where_the_server_listens_is_a_host_and_a_port(text: str, found: tuple[str, int] | None) -> None:
    if found:
        assert start.host_and_port(text) == found
        return
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        start.host_and_port(text)


@pytest.mark.parametrize(
    ("http", "frank", "structured"), [(None, True, True), ("127.0.0.1:9", True, False), ("192.0.2.1:9", False, True)]
)
def test_who_is_on_this_machine_learns_why_and_results_are_as_was_chosen(
    http: str | None, frank: bool, structured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = list[Any]()
    monkeypatch.setattr(start, "_until_a_signal", served.append)
    monkeypatch.setattr("virc.serving.mcp.server.over_stdio", lambda found: found)
    monkeypatch.setattr(start, "_over_http", lambda _, found, *__: served.append(found))
    request: Any = start.McpRequest(setup=object(), http=http, structured=structured)  # type: ignore[arg-type]
    start.serve(request, Reporter(None), print)
    (found,) = served
    assert (found.frank, found.structured) == (frank, structured)


@pytest.mark.parametrize(
    ("host", "key", "url"),
    [
        ("127.0.0.1", None, "http://127.0.0.1:9/mcp"),
        ("::1", None, "http://[::1]:9/mcp"),
        ("0.0.0.0", "k", "http://0.0.0.0:9/mcp"),
        ("0.0.0.0", None, None),
    ],
)
def test_an_open_address_needs_a_key(host: str, key: str | None, url: str | None, monkeypatch: Any) -> None:
    bound, given, said, store = ExitStack(), list[tuple[Any, ...]](), list[str](), ResultStore()
    bound.listen = lambda _: None  # type: ignore[attr-defined]
    monkeypatch.setattr("virc.serving.address.bound_socket", lambda config: given.append(config) or bound)
    monkeypatch.setattr("virc.serving.mcp.over_http.app", lambda *words: given.append(words))
    monkeypatch.setattr("virc.serving.mcp.over_http.run", lambda *words: None)
    request: Any = start.McpRequest(setup=object(), api_key=key)  # type: ignore[arg-type]
    with nullcontext() if url else pytest.raises(UsageError, match="could read the folders and ask the model"):
        start._over_http(request, "served", store, (host, 9), said.append)  # type: ignore[arg-type]
    assert said == ([url] if url else [])
    if url:
        config, app = given
        assert (config.host, config.port) == (host, 9)  # type: ignore[attr-defined]
        assert app == ("served", host, key, store.drop)
