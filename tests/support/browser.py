"""A headless browser driven over its own pipe (Chrome DevTools Protocol): a page as a reader sees it."""

import fcntl
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from support.programs import needs

_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, _NAMES)), None)
in_browser = needs(*_NAMES)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
]
KEYS = {
    "Enter": (13, "\r"),
    "Escape": (27, ""),
    "Tab": (9, ""),
    " ": (32, " "),
    "ArrowLeft": (37, ""),
    "ArrowRight": (39, ""),
    **{sign: (ord(sign.upper()), sign) for sign in "jk12345"},
    "/": (191, "/"),
    "?": (191, "?"),
}
"""Name of a key -> its number, and what it types."""


class RefusedError(AssertionError):
    """The browser could not do what it was asked."""


class Tab:
    """One tab; messages end with a NUL byte and answers carry the number of the question."""

    def __init__(self, to: int, back: int) -> None:
        self.to, self.back = to, back
        self.numbers, self.buffer, self.session = itertools.count(1), b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict[str, Any]:
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            self.events.append(answer)
        if "error" in answer:
            raise RefusedError(answer)
        found: dict[str, Any] = answer["result"]
        return found

    def open(
        self, page: Path | str, width: int, scheme: str = "light", *, height: int = 900, motion: str = "reduce"
    ) -> None:
        """Load a file or address at a size in CSS px and wait until it stands; nothing on it moves."""
        self.resize(width, height)
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.call("Emulation.setEmulatedMedia", features=features)
        self._load("Page.navigate", url=page if isinstance(page, str) else page.as_uri())

    def _load(self, method: str, **params: object) -> None:
        self.events.clear()
        self.call(method, **params)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window that size, in CSS px; a narrow one is a phone's."""
        mobile = width < 500
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile)

    def value(self, expression: str) -> Any:
        """What an expression comes to; a promise, what it is resolved with."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 20) -> Any:
        """The value of an expression as soon as it is true; while a page is left for another there is none."""
        end, found = time.monotonic() + seconds, None
        while True:
            with suppress(RefusedError):
                if found := self.value(expression):
                    return found
            assert time.monotonic() < end, f"{expression} is still {found!r}"
            time.sleep(0.02)

    def choose(self, selector: str, *files: Path) -> None:
        """Choose files in a field for files."""
        field = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.call("DOM.setFileInputFiles", objectId=field["result"]["objectId"], files=list(map(str, files)))

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.call("Input.insertText", text=text)

    def press(self, key: str, shift: bool = False) -> None:
        """Press and release a key of `KEYS`."""
        code, text = KEYS[key]
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """What the browser refused or found wrong since the page was opened."""
        kinds = {"Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening"}
        return [event["params"] for event in self.events if event["method"] in kinds]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            data = os.read(self.back, 1 << 20)
            assert data, "the browser is gone"
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\0", 1)
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def tab(profile: Path) -> Iterator[Tab]:
    """A fresh browser with one tab; it reads commands from descriptor 3 and answers on 4."""
    assert CHROMIUM
    # numbers of 10 and above cannot collide with 3 and 4
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (*os.pipe(), *os.pipe())]
    read_commands, send, receive, write_answers = ends
    line = f'exec "$@" 3<&{read_commands} 4>&{write_answers}'
    process = subprocess.Popen(
        ["bash", "-c", line, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(read_commands, write_answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Tab(send, receive)
    finally:
        process.kill()
        process.wait()
        for end in ends:
            os.close(end)
