"""What the tests of solve share: scripted turns, pictures, and the entry point in this process or its own."""

import json
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.called import Done
from support.servers import MODEL

from virc.reasoning.images import OpenedImage, Shown, open_file
from virc.reasoning.opening.pictures import open_image
from virc.serving.start import Server
from virc.solving import batch as retry
from virc.solving.image_source import files_of, source_of

Serve = Callable[[BaseHTTPRequestHandler], None]
ROOT = Path(__file__).resolve().parents[2]


def think(thought: str, then: str) -> str:
    """One turn in the three-tag format."""
    return f"<think>\n{thought}\n</think>\n{then}"


def answer(text: str, thought: str = "Now it is clear.") -> str:
    """A turn that ends the problem."""
    return think(thought, f"<answer>\n{text}\n</answer>")


def call(name: str, thought: str = "I look closer.", **arguments: object) -> str:
    """A turn that calls a tool."""
    return think(thought, f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>")


def ask_agent(server: Server) -> None:
    """Ask an agent endpoint a question about a picture, then end it; in place of `Server.wait`."""
    picture = {"type": "image_url", "image_url": {"url": Shown(Image.new("RGB", (56, 56))).data_url}}
    body = {"model": MODEL, "messages": [{"role": "user", "content": [picture, {"type": "text", "text": "q"}]}]}
    address = f"{server.url}/chat/completions"
    with server, urllib.request.urlopen(urllib.request.Request(address, json.dumps(body).encode()), timeout=60) as said:
        said.read()


CROP = call("crop_image", bbox_2d=[0, 0, 56, 56], image_index=0)


def picture(path: Path, width: int = 112, height: int = 84) -> Path:
    """Write a small picture with something on it."""
    image = Image.radial_gradient("L").resize((width, height)).convert("RGB")
    image.save(path)
    return path


def start(*words: object, env: dict[str, str], **streams: Any) -> subprocess.Popen[bytes]:
    """Start the real entry point in a process of its own."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.Popen([sys.executable, "-m", "virc_cli", *map(str, words)], env=env, **streams)


def ended(process: subprocess.Popen[bytes]) -> Done:
    """Wait for a process and take what it said."""
    out, err = process.communicate(timeout=240)
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())


def told_to_wait(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set when rows begin to wait for an endpoint that is away; they look for it often."""
    waiting, made = threading.Event(), retry.Outage.__init__

    def make(outage: retry.Outage, answers: Callable[[], bool], on_wait: Callable[[str], None]) -> None:
        made(outage, answers, lambda line: (waiting.set(), on_wait(line))[1])

    monkeypatch.setattr(retry.Outage, "__init__", make)
    monkeypatch.setattr(retry, "LOOK_SECONDS", 0.05)
    return waiting


def late(body: bytes) -> Serve:
    """Answer with it after 20 s."""

    def serve(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(20)
        send(handler, body)

    return serve


def send(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    """Answer one request of the web server."""
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def open_source(source: str, base: Path = Path()) -> Image.Image:
    """The pixels of a picture that a user names."""
    return open_image(*source_of(source, base))


def open_pictures(pictures: Sequence[Any]) -> list[OpenedImage]:
    """The pictures of a Python caller."""
    return [open_file(*file) for file in files_of(pictures)]
