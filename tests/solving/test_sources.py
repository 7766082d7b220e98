"""Where pictures come from: what is fetched, how much of it, how long, and from where not."""

import base64
import io
import os
import socket
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image
from support.called import virc
from support.servers import serve
from support.solving import Serve, answer, late, open_source, send

from virc.core.errors import DataError, NetworkError
from virc.solving import image_source as sources
from virc.solving.image_source import data_url_bytes


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "PNG")
    return file.getvalue()


def test_a_pipe_is_waited_for_and_said(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    threading.Thread(target=lambda: pipe.write_bytes(png()), daemon=True).start()
    with serve([answer("red")]) as server:
        done = virc("solve", pipe, "What colour?", "--endpoint", server.url)
    assert (done.code, done.out) == (0, "red\n")
    assert f"waiting for what is written to the pipe {pipe}\n" in done.err


def test_a_url_is_fetched_also_through_a_redirect(web: tuple[str, dict[str, Serve]]) -> None:
    url, pages = web
    pages["/a.png"] = lambda handler: send(handler, png())
    pages["/b"] = lambda handler: send(handler, b"", 302, Location="/a.png")
    assert open_source(f"{url}/a.png").size == (40, 30)
    assert open_source(f"{url}/b").size == (40, 30)


def test_a_redirect_to_a_private_address_is_refused_and_named(web: tuple[str, dict[str, Serve]]) -> None:
    url, pages = web
    port = int(url.rpartition(":")[2])
    asked: list[object] = []
    pages["/secret"] = asked.append
    for target, named in (
        ("http://169.254.169.254/latest/meta-data", "169.254.169.254"),
        (f"http://127.0.0.2:{port}/secret", "127.0.0.2"),
        (f"http://127.0.0.1:{port ^ 1}/secret", "127.0.0.1"),
        (f"http://[::ffff:127.0.0.1]:{port}/secret", "::ffff:127.0.0.1"),
        ("http://10.0.0.1/", "10.0.0.1"),
    ):
        pages["/a"] = lambda handler, target=target: send(handler, b"", 302, Location=target)
        with pytest.raises(DataError, match="this is not a public address") as caught:
            open_source(f"{url}/a")
        assert f"{url}/a leads to" in caught.value.message
        assert caught.value.hint == "download the picture first"
        assert named in caught.value.message
    assert asked == []


def test_a_proxy_is_asked_and_redirects_through_it_are_checked(
    web: tuple[str, dict[str, Serve]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages = web
    heads: list[str] = []

    def proxied(handler: BaseHTTPRequestHandler) -> None:
        heads.append(f"{handler.headers['Host']} {handler.headers['Proxy-Authorization']}")
        send(handler, png())

    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", url.replace("http://", "http://me:se%20cret@"))
    pages["http://pictures.invalid/a.png"] = proxied
    target = "http://10.0.0.1/a.png"
    pages["http://pictures.invalid/b"] = lambda handler: send(handler, b"", 302, Location=target)
    assert open_source("http://pictures.invalid/a.png").size == (40, 30)
    assert heads == ["pictures.invalid Basic bWU6c2UgY3JldA=="]
    with pytest.raises(DataError, match=r"leads to 10\.0\.0\.1"):
        open_source("http://pictures.invalid/b")


def test_behind_a_proxy_a_name_with_one_private_address_among_others_is_refused(
    web: tuple[str, dict[str, Serve]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages = web
    real, inside = socket.getaddrinfo, "http://inside.invalid/a.png"

    def found(host: str, port: int, *words: Any, **more: Any) -> list[Any]:
        if host != "inside.invalid":
            return real(host, port, *words, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in ("8.8.8.8", "127.0.0.1")]

    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", url)
    monkeypatch.setattr(socket, "getaddrinfo", found)
    pages["http://pictures.invalid/b"] = lambda handler: send(handler, b"", 302, Location=inside)
    pages[inside] = lambda handler: send(handler, png())
    with pytest.raises(DataError, match=r"leads to inside\.invalid, which is 127\.0\.0\.1"):
        open_source("http://pictures.invalid/b")


@pytest.mark.parametrize("trouble", ["truncated", "busy", "cut"])
def test_a_download_that_fails_is_tried_again(trouble: str, web: tuple[str, dict[str, Serve]]) -> None:
    url, pages = web
    tries: list[str] = []

    def late_good(handler: BaseHTTPRequestHandler) -> None:
        tries.append(trouble)
        if len(tries) > 1:
            send(handler, png())
        elif trouble == "busy":
            send(handler, b"", 503)
        elif trouble == "truncated":
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(png())))
            handler.end_headers()
            handler.wfile.write(png()[:30])

    pages["/a"] = late_good
    assert open_source(f"{url}/a").size == (40, 30)
    assert len(tries) == 2


@pytest.mark.parametrize("target", ["file:///etc/passwd", "data:image/png;base64,AAAA"])
def test_a_redirect_leads_to_http_alone(target: str, web: tuple[str, dict[str, Serve]]) -> None:
    url, pages = web
    pages["/a"] = lambda handler: send(handler, b"", 302, Location=target)
    with pytest.raises((NetworkError, DataError)) as caught:
        open_source(f"{url}/a")
    assert f"{url}/a" in str(caught.value)


def test_a_server_that_sends_too_much_is_left(
    web: tuple[str, dict[str, Serve]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages = web
    monkeypatch.setattr(sources, "_MAX_FETCHED", 2**20)
    sent: list[int] = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while True:
            sent.append(handler.wfile.write(b"x" * 2**16))

    pages["/a"] = endless
    with pytest.raises(DataError, match="over 1 MiB"):
        open_source(f"{url}/a")
    assert sum(sent) < 16 * 2**20


@pytest.mark.parametrize("where", ["body", "head"])
def test_a_server_that_drips_is_left(
    where: str, web: tuple[str, dict[str, Serve]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pages = web
    monkeypatch.setattr(sources, "SECONDS", 0.2)

    def drip(handler: BaseHTTPRequestHandler) -> None:
        if where == "body":
            handler.send_response(200)
            handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"x" if where == "body" else b"HTTP/1.0 200 OK\r\nX: 1\r\n")
                time.sleep(0.1)
        finally:
            hung_up.set()

    pages["/a"], hung_up = drip, threading.Event()
    with pytest.raises(NetworkError, match="did not arrive"):
        open_source(f"{url}/a")
    assert hung_up.wait(60)


def test_a_url_may_hold_any_letters(web: tuple[str, dict[str, Serve]]) -> None:
    url, pages = web
    pages["/%C3%A4%20b%2F.png?q=%C3%A9%7C&a=b"] = lambda handler: send(handler, png())
    assert open_source(f"{url}/ä b%2F.png?q=é%7C&a=b#ü").size == (40, 30)
    with pytest.raises(NetworkError, match=r"cannot fetch http://ä\.invalid/a: "):
        open_source("http://ä.invalid/a")


def test_a_password_in_a_url_is_neither_sent_nor_shown(web: tuple[str, dict[str, Serve]]) -> None:
    url, pages = web
    asked: list[object] = []
    pages["/a"] = asked.append
    for words in ([], ["--offline"]):
        done = virc("solve", url.replace("http://", "HTTP://me:se@cret@") + "/a", "q", "--json", *words)
        assert (done.code, done.json["error"]["kind"]) == (5, "data")
        assert f"{url.removeprefix('http://')}/a holds a user and password" in done.err
        assert "cret" not in done.out + done.err
    assert asked == []


def test_the_time_of_a_problem_also_ends_a_fetch(image: Path, web: tuple[str, dict[str, Serve]]) -> None:
    url, pages = web
    pages["/a"] = late(image.read_bytes())
    done = virc("solve", f"{url}/a", "q", "--timeout", 0.3)
    assert (done.code, "did not arrive within 0.3 s" in done.err) == (6, True)


def test_offline_fetches_nothing(web: tuple[str, dict[str, Serve]], monkeypatch: pytest.MonkeyPatch) -> None:
    url, pages = web
    asked: list[object] = []
    pages["/a"] = asked.append
    done = virc("solve", f"{url}/a", "q", "--offline")
    assert (done.code, asked) == (6, [])
    assert "--offline forbids it" in done.err


BASE64 = base64.b64encode(b"\xfb\xff\xbe" + png()).decode()


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:IMAGE/PNG;BASE64,{BASE64}",
        f"data:application/octet-stream;charset=utf-8;name=a.png; base64,{BASE64}",
        f"data:image/png;base64,\r\n {textwrap.fill(BASE64, 76)}\n",
        f"data:image/png;base64,{BASE64.rstrip('=')}",
        f"data:image/png;base64,{BASE64.replace('+', '-').replace('/', '_')}",
        f"data:image/png,{quote(base64.b64decode(BASE64))}",
    ],
)
def test_a_data_url_is_read_as_clients_write_it(url: str) -> None:
    assert "+" in BASE64
    assert "/" in BASE64
    assert data_url_bytes(url)[3:] == png()


@pytest.mark.parametrize(
    "url", ["data:image/png,abc", "data:image/png;base64,a*b", "data:text/plain,a", "data:image/png," + "%41" * 300_000]
)
def test_a_broken_data_url_is_a_data_error(url: str) -> None:
    with pytest.raises(DataError, match="the data URL is no base64" if ";base64" in url else "data URL"):
        open_source(url)
