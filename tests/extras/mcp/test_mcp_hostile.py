"""What a client may not read or break, whatever it sends to the MCP server."""

import base64
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from mcp_server import called, noise, refused, tool_calls
from support.https_site import Site

from virc_extras.mcp.result_store import ResultStore

SECRET = "a line that no client may see"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A readable folder, and beside it what nobody may read: a text, a picture, and links to them from inside."""
    inside, outside = tmp_path / "readable", tmp_path / "readable-not"
    inside.mkdir()
    outside.mkdir()
    noise(inside / "a.png", (60, 40))
    noise(outside / "b.png", (61, 41))
    (outside / "secret.txt").write_text(SECRET)
    (inside / "link.png").symlink_to(outside / "b.png")
    (inside / "way").symlink_to(outside)
    (inside / "round").symlink_to(inside / "round")
    (inside / "note.txt").write_text(SECRET)
    (inside / "below").mkdir()
    os.mkfifo(inside / "pipe.png")
    return inside


@pytest.mark.parametrize(
    "source",
    [
        "../readable-not/b.png", "link.png", "way/b.png", "below/../../readable-not/b.png", "{outside}/b.png",
        "{inside}/../readable-not/b.png", "{inside}-not/b.png", "/etc/passwd", "~/.ssh/id_rsa", "/proc/self/environ",
        "round", "a.png\0.png", "\0", ".", "..", "C:\\x.png", "\\\\host\\share\\x.png", "gone.png", "x" * 300,
        "{outside}/gone.png",
    ],
)  # fmt: skip
def test_nothing_outside_is_read_or_told_of(place: Path, source: str) -> None:
    outside = place.parent / "readable-not"
    sentence = refused(tool_calls([place]), "show", image=source.format(inside=place, outside=outside))
    assert any(part in sentence for part in ("not a picture inside a readable folder", "is a folder", "cannot be read"))
    assert SECRET not in sentence


def test_a_path_outside_is_refused_alike_whether_it_exists(place: Path) -> None:
    outside = place.parent / "readable-not"
    there, gone = (refused(tool_calls([place]), "show", image=str(outside / name)) for name in ("b.png", "c.png"))
    assert there.replace("b.png", "c.png") == gone


def test_a_folder_that_becomes_a_link_is_not_followed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Path.resolve

    def resolve(path: Path, strict: bool = False) -> Path:
        found = whole(path, strict=strict)
        if found.name == "a.png" and not (place / "below" / "a.png").is_symlink():
            (place / "below").rmdir()
            (place / "below").symlink_to(place.parent / "readable-not")
            return place / "below" / "b.png"
        return found

    monkeypatch.setattr(Path, "resolve", resolve)
    behind = tool_calls([])
    behind._readable = type(behind._readable)([place])
    assert "cannot be read" in refused(behind, "show", image="a.png")


def test_files_are_read_by_their_urls_and_with_other_blanks(place: Path) -> None:
    (place / "a.png").rename(place / "a\u202fb.png")
    for source in (f"file://{place}/a%20b.png", f"FILE://localhost{place}/a%E2%80%AFb.png", "a b.png"):
        result = called(tool_calls([place]), "show", image=source).structured_content
        assert result and result["width"] == 60  # noqa: PT018
    assert "inside a readable folder" in refused(tool_calls([place]), "show", image=f"file://{place.parent}-not/b.png")


def test_what_is_no_regular_file_is_not_waited_for(place: Path) -> None:
    assert "it is no file" in refused(tool_calls([place]), "show", image="pipe.png")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("file:///etc/passwd", "not a picture inside a readable folder"),
        ("file://host/etc/passwd", "is a file of the machine host"),
        ("ftp://host/a.png", "ftp URLs are not read"),
        ("http://example.org/x.png", "only https URLs are fetched"),
        ("https://127.0.0.1/x.png", "no public server"),
        ("https://169.254.169.254/latest/meta-data", "no public server"),
        ("https://user:password@example.org/x.png", "no https URL that can be fetched"),
        ("data:text/html,hello", "must begin like data:image/png;base64,"),
        ("data:image/png;base64,####", "no base64"),
        ("A" * 5001, "no base64, and too long for a path"),
        ("data:image/svg+xml;base64," + base64.b64encode(b"<svg xmlns='http://www.w3.org/2000/svg'/>").decode(), "SVG"),
        (base64.b64encode(b"%PDF-1.7 " + b"x" * 90).decode(), "PDF"),
        ("image-" + "0" * 32, "this session has no image-"),
    ],
)
def test_other_sources_are_refused_in_a_sentence(source: str, sentence: str) -> None:
    assert sentence in refused(tool_calls(), "show", image=source)


def test_offline_fetches_nothing() -> None:
    assert "(offline)" in refused(tool_calls(offline=True), "show", image="https://example.org/x.png")


def test_a_public_picture_is_fetched(tmp_path: Path) -> None:
    noise(tmp_path / "x.png", (50, 40))
    content = (tmp_path / "x.png").read_bytes()

    def answer(_: Site, __: str, connection: Any) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content)

    site = Site(answer)
    try:
        result = called(tool_calls(rules=site.rules()), "show", image=site.url())
    finally:
        site.close()
    assert result.structured_content
    assert result.structured_content["width"] == 50


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 px in a few bytes."""
    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 1000)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


@pytest.mark.parametrize(("tool", "more"), [("show", {}), ("ask", {"question": "?"})])
def test_a_decompression_bomb_is_refused(tool: str, more: dict[str, Any]) -> None:
    assert "million" in refused(tool_calls(), tool, image=base64.b64encode(bomb()).decode(), **more)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("gone", {}), ("show", {"image": 3}), ("show", {"image": "a.png", "more": 1}),
        ("show", {"image": "a.png", "max_side": 10**9}), ("crop", {"image": "a.png", "box": [5, 5, 5, 5]}),
        ("crop", {"image": "a.png", "box": [1e308, -1e308, 1e308, 1e308]}),
        ("ask", {"image": "a.png", "question": "?", "samples": 1000}),
        ("ask", {"image": "a.png", "question": "?", "more_images": ["a.png"] * 99}),
        ("evaluate", {"answer": "1", "reference": ""}),
    ],
)  # fmt: skip
def test_wrong_arguments_are_tool_errors(place: Path, tool: str, arguments: dict[str, Any]) -> None:
    assert refused(tool_calls([place]), tool, **arguments)


def test_results_are_of_their_session_only(place: Path) -> None:
    store = ResultStore()
    name = store.keep("one", "image", (place / "a.png").read_bytes(), 10)
    assert store.find("one", name)
    assert store.find("other", name) is None
    assert "this session has no image-" in refused(tool_calls(store=store), "show", image=name)


def test_a_session_is_forgotten_when_it_ends_or_idles() -> None:
    now = [0.0]
    store = ResultStore(idle=10, now=lambda: now[0])
    kept = {session: store.keep(session, "image", b"x", 1) for session in ("", "ended", "idle", "used")}
    store.drop("ended")
    now[0] = 6
    store.find("used", kept["used"])
    now[0] = 11
    found = {session: store.find(session, name) for session, name in kept.items()}
    assert found == {"": b"x", "ended": None, "idle": None, "used": b"x"}
