"""A clip and a report as a user has them: what a server gets is the frame or page that was asked for."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from extras.video.drawn_clips import KINDS, number_of, painted
from extras.video.drawn_documents import scanned
from PIL import Image
from support.called import virc
from support.servers import Server, image_bytes, serve
from support.solving import CROP, answer
from support.tables import each_case

import virc as library
from virc.core.errors import UsageError


@pytest.fixture
def server() -> Iterator[Server]:
    with serve([answer("97")] * 9) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clip of a phone and a report of a scanner, without telling names."""
    monkeypatch.chdir(tmp_path)
    Path("phone").write_bytes(KINDS["turned"]().data)
    Path("scan").write_bytes(scanned(5))
    Image.new("RGB", (56, 56), "red").save("red.png")
    return tmp_path


def shown(server: Server, request: int = -1) -> list[str | int]:
    """The texts and the numbers in the pictures of a request's question, in order."""
    parts: list[str | int] = []
    for part in server.chats()[request]["messages"][1]["content"]:
        if part["type"] == "text":
            parts += [line.strip() for line in part["text"].splitlines() if line.strip()]
        else:
            parts.append(number_of(Image.open(io.BytesIO(image_bytes(part)))))
    return [each for each in parts if not str(each).startswith(("Image ", "Reason "))]


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (["phone", "q"], ["Frame 1 at 0:00:", 0, "Frame 2 at 0:00.66:", 19, "Frame 3 at 0:01.32:", 39,
                          "Frame 4 at 0:01.97:", 59, "Question: q"]),
        (["phone", "q", "--at", "0:01,1.5"], ["Frame 1 at 0:01:", 29, "Frame 2 at 0:01.5:", 44, "Question: q"]),
        (["phone", "q", "--fps", "2"], ["Frame 1 at 0:00:", 0, "Frame 2 at 0:00.5:", 14, "Frame 3 at 0:01:", 29,
                                        "Frame 4 at 0:01.5:", 44, "Frame 5 at 0:02:", 59, "Question: q"]),
        (["phone", "q", "--frames", "2"], ["Frame 1 at 0:00:", 0, "Frame 2 at 0:01.97:", 59, "Question: q"]),
        (["phone", "q", "--at", "1.0002,1.001"], ["Frame 1 at 0:01.0002:", 29, "Frame 2 at 0:01.001:", 30,
                                                  "Question: q"]),
        (["scan", "q", "--page", "2-3,5"], ["Page 2 of 5:", 2, "Page 3 of 5:", 3, "Page 5 of 5:", 5, "Question: q"]),
        (["phone", "From <image> to <image>", "--image", "scan", "--frames", "1", "--page", "4"],
         ["Question: From", "Clip 1, frame 1 at 0:00:", 0, "to", "Document 2, page 4 of 5:", 4]),
        (["red.png", "q", "--image", "phone", "--frames", "1"], [-1, "Clip 2, frame 1 at 0:00:", 0, "Question: q"]),
    ],
)  # fmt: skip
def test_the_server_gets_the_frames_and_pages_that_are_named(
    words: list[str], seen: list[str | int], folder: Path, server: Server
) -> None:
    done = virc("solve", *words, "--endpoint", server.url)
    assert (done.code, done.out) == (0, "97\n")
    assert shown(server) == seen


def test_a_dry_run_says_what_is_shown_and_asks_nobody(folder: Path, server: Server) -> None:
    done = virc(
        "solve", "phone", "q", "--image", "scan", "--frames", "2", "--page", "3", "--endpoint", server.url, "--dry-run"
    )
    assert done.out.splitlines() == [
        "phone: Clip 1, frame 1 at 0:00:", "phone: Clip 1, frame 2 at 0:01.97:", "scan: Document 2, page 3 of 5:",
    ]  # fmt: skip
    assert "phone lasts 0:02.01 at 160 x 48 px: 2 frames shown" in done.err
    assert (done.code, server.chats()) == (0, [])


def test_a_frame_that_stays_is_shown_once(folder: Path, server: Server) -> None:
    Path("screen").write_bytes(KINDS["still screen"]().data)
    virc("solve", "screen", "q", "--endpoint", server.url)
    assert shown(server) == ["Frame 1 at 0:00:", 0, "Frame 2 at 0:01:", 4, "Frame 3 at 0:07:", 30, "Question: q"]


def test_a_long_document_says_which_pages_are_left_out(folder: Path, server: Server) -> None:
    Path("long").write_bytes(scanned(34, (40, 56)))
    done = virc("solve", "long", "q", "--endpoint", server.url)
    assert "long has 34 pages, and only the first 32 are looked at\nhint: --page 33-34 shows others" in done.err
    assert len([each for each in shown(server) if isinstance(each, int)]) == 32


def test_a_trace_has_source_place_and_digest_and_is_asked_on_from(folder: Path, server: Server) -> None:
    virc("solve", "phone", "q", "--at", "1", "--endpoint", server.url, "--trace", "t")
    trace = json.loads(Path("t/trace.json").read_text())
    (image,) = trace["images"]
    assert image["place"].pop("sha256")
    assert image["place"].pop("length") == pytest.approx(2.002)
    assert re.search(r">\s*2\.002 s\s*<", Path("t/index.html").read_text()), "its time line ends with the clip"
    assert image["place"] == {"source": "phone", "index": 1, "line": "Frame 1 at 0:01:", "seconds": 1.0}
    assert trace["pictures"][0]["media"] == {"at": [1.0]}
    done = virc("solve", "--continue", "t", "and then?", "--endpoint", server.url)
    assert (done.code, done.out) == (0, "97\n")
    assert [each for each in shown(server) if isinstance(each, int)] == [29]
    Path("phone").write_bytes(KINDS["MKV"]().data)
    assert (
        "phone is another picture than the conversation is about"
        in virc("solve", "--continue", "t", "and?", "--endpoint", server.url).err
    )


def test_a_crop_of_a_frame_is_cut_from_that_frame(folder: Path) -> None:
    with serve([CROP, answer("97")]) as server:
        done = virc("solve", "phone", "q", "--at", "1", "--endpoint", server.url, "--json")
        assert done.json["calls"] == {"crop_image": 1}
        assert done.json["pictures"][0]["place"]["seconds"] == 1.0
        assert done.json["settings"]["media"] == {"at": [1.0]}


@each_case(
    ("words", "code", "sentence"),
    [
        (["red.png", "q", "--fps", "1"], 2, "--fps chooses in a clip, and there is none"),
        (["phone", "q", "--page", "1"], 2, "--page chooses in a document or a picture, and there is none"),
        (["red.png", "q", "--page", "1-2"], 2, "--page names several pages, and not all files are documents"),
        (["phone", "q", "--at", "1:0x"], 2, "at is '1:0x', which is no time"),
        (["phone", "q", "--at", "1:75"], 2, "at is '1:75', which is no time"),
        (["phone", "q", "--at", "1:60:00"], 2, "at is '1:60:00', which is no time"),
        (["scan", "q", "--page", "0"], 2, "page must be a whole number of at least 1, or a range, not '0'"),
        (["phone", "q", "--at", "1", "--fps", "1"], 2, "at, fps and frames each choose the frames of a clip"),
        (["phone", "q", "--at", "9"], 5, "phone lasts 0:02.01: it has nothing at 0:09"),
        (["scan", "q", "--page", "6"], 5, "scan has 5 pages, and no page 6"),
        (["phone", "q", "--timeout", "1e-9"], 6, "a longer --timeout, or fewer frames or pages (--frames, --page)"),
        (["phone", "q", "--fps", "90"], 5, "that is 181 frames, over 128"),
    ],
)
def test_a_choice_that_means_nothing_is_one_sentence(words: list[str], code: int, sentence: str, folder: Path) -> None:
    done = virc("solve", *words, "--endpoint", "http://127.0.0.1:9/v1")
    assert done.code == code
    assert sentence in done.err


def test_rows_name_clips_and_documents(folder: Path, server: Server) -> None:
    Path("rows.jsonl").write_text('{"id":1,"video":"phone","question":"q"}\n{"id":2,"video":"scan","question":"q"}\n')
    done = virc("batch", "rows.jsonl", "--endpoint", server.url, "--frames", "1", "--page", "2", "--concurrency", "1")
    assert [line["pictures"][0]["place"]["line"] for line in done.lines] == ["Frame 1 at 0:00:", "Page 2 of 5:"]
    assert [shown(server, number) for number in (0, 1)] == [
        ["Frame 1 at 0:00:", 0, "Question: q"], ["Page 2 of 5:", 2, "Question: q"],
    ]  # fmt: skip


def test_a_batch_of_pictures_shows_the_page_and_says_that_there_are_no_clips(folder: Path, server: Server) -> None:
    pages = [painted(number) for number in (1, 2, 3)]
    pages[0].save("pages.tiff", save_all=True, append_images=pages[1:])
    words = ("batch", "pages.tiff", "q", "--endpoint", server.url)
    done = virc(*words, "--page", "3")
    assert (shown(server), done.lines[0]["pictures"][0]["shown"]) == ([3, "Question: q"], 3)
    assert virc(*words, "--page", "4").lines[0]["error"]["message"] == "pages.tiff has no page 4"
    assert "--at, --fps and --frames choose in clips, and no row has one" in virc(*words, "--frames", "3").err


def test_a_pattern_takes_clips_and_documents(folder: Path, server: Server) -> None:
    done = virc("batch", "[ps]*", "q", "--endpoint", server.url, "--frames", "1", "--page", "1")
    assert sorted(line["id"] for line in done.lines) == ["phone", "scan"]


def test_another_choice_of_frames_is_another_file_of_answers(folder: Path, server: Server) -> None:
    words = ("batch", "phone", "q", "--endpoint", server.url, "--to", "a.jsonl", "--frames")
    assert virc(*words, "1").code == 0
    again = virc(*words, "2")
    assert "a.jsonl holds answers made with media {'frames': 1}, not {'frames': 2}" in again.err


def test_python_takes_clips_documents_and_bytes(folder: Path, server: Server) -> None:
    sources = [Path("phone"), Path("scan").read_bytes()]
    solution = library.solve(sources, "q", endpoint=server.url, at=["0:01", 1.5], page=[2, "4-5"])
    assert solution.answer == "97"
    assert [each for each in shown(server) if isinstance(each, int)] == [29, 44, 2, 4, 5]
    (row,) = library.batch([("phone", "q")], endpoint=server.url, frames=1)
    assert row.fields["pictures"][0]["place"]["line"] == "Frame 1 at 0:00:"
    with pytest.raises(UsageError, match="frames must be a whole number"):
        library.solve("phone", "q", endpoint=server.url, frames=0)


def test_a_pipeline_says_that_it_needs_pictures(folder: Path) -> None:
    code = "from virc_extras.pipelines import Role\nROLES = {'eyes': Role()}\ndef solve(problem, roles):\n    return ''"
    Path("p.py").write_text(code)
    done = virc("solve", "phone", "q", "--pipeline", "p.py", "--role", "eyes=http://127.0.0.1:9/v1")
    assert "phone is a clip or a document, and a picture is needed" in done.err


@pytest.mark.integration
def test_a_clip_is_read_in_a_process_of_its_own(folder: Path, server: Server) -> None:
    for source, stdin in (("phone", b""), ("-", Path("phone").read_bytes())):
        done = virc("solve", source, "q", "--at", "1", "--endpoint", server.url, stdin=stdin)
        assert done.code == 0
        assert shown(server) == ["Frame 1 at 0:01:", 29, "Question: q"]
