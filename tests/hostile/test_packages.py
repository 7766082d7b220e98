"""An index with other files than those of an engine's lock file: none is installed or run."""

import io
import re
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import host
from support.loopback import Connection, Loopback

from virc.envs import pins

pytestmark = pytest.mark.integration
LOCK = pins.FOLDER / "eval-cpu.txt"
PINNED = {
    name: (version, digest)
    for name, version, digest in re.findall(
        r"^([\w.-]+)==(\S+) \\\n +--hash=sha256:(\w+)", LOCK.read_text(), re.MULTILINE
    )
}


def wheel(name: str, version: str, canary: Path) -> bytes:
    """A wheel that runs code whenever its interpreter starts."""
    info, file = f"{name}-{version}.dist-info", io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr(f"{name}.pth", f"import pathlib; pathlib.Path({str(canary)!r}).touch()\n")
        packed.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        packed.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{info}/RECORD", "")
    return file.getvalue()


def source(name: str, version: str, canary: Path) -> bytes:
    """A source distribution that runs code when it is built."""
    text = f"import pathlib; pathlib.Path({str(canary)!r}).touch()\nfrom setuptools import setup\nsetup()\n".encode()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as packed:
        entry = tarfile.TarInfo(f"{name}-{version}/setup.py")
        entry.size = len(text)
        packed.addfile(entry, io.BytesIO(text))
    return file.getvalue()


KINDS: dict[str, Callable[[str, str, Path], bytes]] = {"-py3-none-any.whl": wheel, ".tar.gz": source}


class Index(Loopback):
    """Has every package of the lock file as files of these kinds; where it lies, with the hashes of the lock file."""

    def __init__(self, kinds: tuple[str, ...], lies: bool, canary: Path) -> None:
        super().__init__(_Request)
        self.kinds, self.lies, self.canary = kinds, lies, canary


class _Request(Connection):
    server: Index

    def get(self) -> None:
        *_, place, last = self.path.strip("/").split("/")
        if place == "simple" and last in PINNED:
            version, digest = PINNED[last]
            said = f"#sha256={digest}" if self.server.lies else ""
            files = [f"{last.replace('-', '_')}-{version}{kind}" for kind in self.server.kinds]
            links = (f'<a href="/files/{file}{said}">{file}</a>' for file in files)
            self.send_body("\n".join(links).encode(), headers={"Content-Type": "text/html"})
        elif place == "files":
            kind = next(kind for kind in KINDS if last.endswith(kind))
            name, _, version = last.removesuffix(kind).partition("-")
            self.send_body(KINDS[kind](name, version, self.server.canary))
        else:
            self.send_error(404)


BOTH = tuple(KINDS)


@pytest.mark.parametrize(
    ("kinds", "lies", "log"),
    [(BOTH, False, "Hash mismatch"), (BOTH, True, "Hash mismatch"), ((".tar.gz",), True, "no usable wheels")],
)
def test_nothing_of_other_files_is_installed(
    home: host.Home, tmp_path: Path, kinds: tuple[str, ...], lies: bool, log: str
) -> None:
    index = Index(kinds, lies, tmp_path / "canary")
    variables = {
        "UV_DEFAULT_INDEX": f"{index.address}/simple", "UV_CACHE_DIR": str(tmp_path / "uv"), "UV_NO_CONFIG": "1",
        "VIRC_CACHE": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1", "UV_HTTP_RETRIES": "0",
    }  # fmt: skip
    with index.running():
        done = home.run("env", "create", "eval", "--device", "cpu", **variables)
    assert done.code == 7, done
    envs = tmp_path / "cache" / "envs"
    assert log in (envs / "eval-cpu.log").read_text()
    assert not index.canary.exists()
    assert [each.name for each in envs.iterdir() if each.is_dir()] == []
