"""A newcomer's slips: what is said of each, and that the line in the hint, pasted, gives an answer."""

import shlex
from pathlib import Path

import pytest
from support.called import virc
from support.servers import serve
from support.solving import answer, picture

from virc_cli import slips

MEANT = [
    # typed after `virc` | the line that was meant
    ("a.png 'What is x?'", "virc solve a.png 'What is x?'"),
    ("'What is x?' a.png", "virc solve a.png 'What is x?'"),
    ("a.png What is x?", "virc solve a.png 'What is x?'"),
    ("What is x? a.png --max-turns 3", "virc solve a.png 'What is x?' --max-turns 3"),
    ("--max-turns 3 a.png x?", "virc solve a.png 'x?' --max-turns 3"),
    ("a.pgn x?", "virc solve a.png 'x?'"),
    ("ask a.png 'What is x?'", "virc solve a.png 'What is x?'"),
    ("run 'What is x?' a.png --quiet", "virc solve a.png 'What is x?' --quiet"),
    ("sovle a.png 'What is x?'", "virc solve a.png 'What is x?'"),
    ("--max-turns 3 solve a.png x?", "virc solve a.png 'x?' --max-turns 3"),
    ("solve a.png --question 'What is x?' --max-turns 3", "virc solve a.png 'What is x?' --max-turns 3"),
    ("solve a.png --prompt='What is x?'", "virc solve a.png 'What is x?'"),
    ("solve --image a.png --question 'What is x?'", "virc solve 'What is x?' --image a.png"),
    ("solve my figure.png 'What is x?'", "virc solve 'my figure.png' 'What is x?'"),
    ("solve --quiet a.png What is x?", "virc solve --quiet a.png 'What is x?'"),
    ("solve 'What is x?' a.png", "virc solve a.png 'What is x?'"),
    ("a.png b.png x?", "virc batch a.png b.png 'x?'"),
    ("rows.csv", "virc batch rows.csv"),
    ("ask rows.csv --concurrency 2", "virc batch rows.csv --concurrency 2"),
    ("charts 'What is x?'", "virc batch charts 'What is x?'"),
    ("solve charts 'What is x?'", "virc batch charts 'What is x?'"),
    ("solve 'charts/*.png' 'What is x?'", "virc batch 'charts/*.png' 'What is x?'"),
    ("solve rows.csv", "virc batch rows.csv"),
    ("solve rows.csv x?", "virc batch rows.csv"),
    ("solve a.png x? --to answers.csv", "virc batch a.png 'x?' --to answers.csv"),
    ("solve --batch rows.csv --to answers.csv", "virc batch rows.csv --to answers.csv"),
    ("solve --batch=rows.csv --concurrency 2", "virc batch rows.csv --concurrency 2"),
    ("solve --max-turns 3 --batch rows.csv --quiet", "virc batch rows.csv --max-turns 3 --quiet"),
    ("batch 'What is x?' a.png b.png", "virc batch a.png b.png 'What is x?'"),
    ("batch a.png b.png What is x?", "virc batch a.png b.png 'What is x?'"),
    ("batch charts", "virc batch charts 'QUESTION'"),
    ("batch a.png", "virc batch a.png 'QUESTION'"),
]


@pytest.fixture
def here(clean: Path) -> Path:
    """The working folder with pictures, a folder of them, and rows."""
    (clean / "charts").mkdir()
    for name in ("a.png", "b.png", "my figure.png", "charts/c.png"):
        picture(clean / name)
    (clean / "rows.csv").write_text("image,question\na.png,What is x?\n")
    return clean


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(("typed", "meant"), MEANT, ids=[typed for typed, _ in MEANT])
def test_the_line_that_was_meant_is_shown_and_works(typed: str, meant: str) -> None:
    done = virc(*shlex.split(typed))
    assert done.code == 2, done.err
    sentence, hint = done.err.splitlines()
    assert (sentence[:7], hint) == ("error: ", f"hint: {meant}")
    with serve(lambda _: answer("7")) as server:
        done = virc(*shlex.split(meant)[1:], "--endpoint", server.url)
    assert done.code == 0, done.err
    written = Path("answers.csv").read_text() if "--to" in meant else done.out
    assert "7" in written


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("typed", "code", "said", "hint"),
    [
        ("sovle", 2, "no such command 'sovle'", "did you mean 'solve'?"),
        ("chat", 2, "no such command 'chat'", "virc solve IMAGE 'QUESTION'"),
        ("run", 2, "no such command 'run'", "virc solve IMAGE 'QUESTION'; did you mean 'runs'?"),
        ("evaluate x", 2, "no such command 'evaluate'", "virc eval --help"),
        ("--quiet systems ls", 2, "--quiet comes after the command", "virc systems ls --quiet"),
        ("help", 2, "no such command 'help'", "virc --help"),
        ("help solve", 2, "no such command 'help'", "virc solve --help"),
        ("version", 2, "no such command 'version'", "virc --version"),
        ("-h", 2, "no such option '-h'", "virc --help"),
        ("solve -h", 2, "no such option '-h'", "virc solve --help"),
        ("models", 2, "no such command 'models'", "virc systems ls"),
        ("solve", 2, "there is no image", "virc solve IMAGE 'QUESTION'"),
        ("solve '' x?", 2, "IMAGE is empty", "virc solve IMAGE 'QUESTION'"),
        ("solve a.png x? --api-key sk-1", 2, "no such option '--api-key'", "export VIRC_API_KEY=KEY"),
        ("batch a.png x? --output y", 2, "no such option '--output'", "here it is --to"),
        ("solve a.png x? --base-url http://x/v1", 2, "no such option '--base-url'", "here it is --endpoint"),
        ("solve a.png x? --endpoint localhost:8000", 2, "must be a URL", "--endpoint http://localhost:8000/v1"),
        ("solve a.png x? --endpoint 10.0.0.1:8000/v1/", 2, "must be a URL", "--endpoint http://10.0.0.1:8000/v1"),
        ("solve a.png x? --endpoint http://127.0.0.1:9", 6, "cannot be reached", "or --endpoint http://127.0.0.1:9/v1"),
        ("solve a.png x? --model qwen3-vl", 3, "qwen3-vl is a system", "--system qwen3-vl --model FOLDER"),
        ("solve a.png x? --model gpt-4o", 3, "of the service OpenAI", "VIRC_API_KEY=KEY, and --endpoint https://api.o"),
        ("solve a.png x? --model o4-mini", 3, "of the service OpenAI", "--model o4-mini"),
        ("solve a.png x? --model claude-sonnet-4-5", 3, "Anthropic", "--endpoint https://api.anthropic.com/v1"),
        ("solve a.png x? --model gemini-2.5-pro", 3, "Google", "--endpoint https://generativelanguage.googleapis.com"),
        ("solve a.png x? --model openai/gpt-4o", 3, "OpenRouter", "--endpoint https://openrouter.ai/api/v1"),
        ("solve a.png x? --model llava:7b", 3, "such as Ollama", "--endpoint http://localhost:11434/v1 --model"),
        ("solve a.png x? --model Qwen/Qwen2.5-VL-3B-Instruct", 3, "is not on this machine", "virc download Qwen/"),
        ("solve a.png x? --model qwerty", 3, "there is no model 'qwerty'", "a folder, a hub id"),
        ("solve a.png x? --system 'You are a teacher'", 3, "is no system message: 'You are", "virc systems ls"),
        ("solve a.png x? --system qwen3vl", 3, "there is no system 'qwen3vl'", "did you mean 'qwen3-vl'?"),
        ("solve a.png x? --tools zoom_image", 2, "--tools zoom_image is not +NAME", "--tools +zoom_image adds"),
        ("solve a.png x? --tools zoom", 2, "--tools zoom is not +NAME", "--tools +zoom_image adds"),
        ("solve a.png x? --tools zoom_imge", 2, "is not +NAME", "--tools +zoom_image adds"),
        ("solve a.png x? --tools +zoom", 3, "there is no tool 'zoom'", "did you mean 'zoom_image'?"),
        ("solve a.png x? --trace ''", 2, "--trace is empty: perhaps a variable", "leave it out"),
        ("batch rows.csv --protocol=", 2, "--protocol is empty", "leave it out"),
        ("batch rows.csv --pipeline=", 2, "--pipeline is empty", "leave it out"),
        ("batch rows.csv --judge-model=", 2, "--judge-model is empty", "leave it out"),
        ("solve b x?", 5, "there is no file b", "did you mean 'b.png'?"),
        ("solve a.pgn x?", 5, "there is no file a.pgn", "did you mean 'a.png'?"),
        ("solve charts/d.png x?", 5, "there is no file charts/d.png", "did you mean 'charts/c.png'?"),
        ("solve file://host/a.png x?", 5, "is a file of the machine host", "file:///PATH has three slashes"),
        ("batch", 2, "there are no rows", "virc batch rows.csv --to answers.csv"),
        ("batch row.csv", 5, "there is no file row.csv", "did you mean 'rows.csv'?"),
        ("batch gone", 5, "there is no file gone", ""),
        ("batch rows.csv --json", 2, "a batch prints JSON anyway", "leave --json out"),
        ("batch rows.csv --to x.xlsx", 2, "written as .jsonl, .csv or .tsv, not .xlsx", "--to x.csv"),
        ("batch rows.csv --to rows.csv", 2, "the rows and the answers are the same file", "--to answers.csv"),
        ("batch rows.csv --to charts", 2, "charts is not a file", "--to charts/answers.csv"),
        ("batch rows.csv --to a.png/x.csv", 1, "cannot write answers to a.png: not a directory", "--to x.csv"),
        ("batch rows.csv --to /proc/no/x.csv", 1, "cannot write answers to /proc/no", "--to x.csv"),
        ("batch rows.csv --column picture=x", 2, "it is FIELD=NAME", "--column image=photo"),
        ("batch rows.csv a.png", 2, "several sources, and not all are pictures", "for f in rows.csv a.png; do"),
        ("batch '' x?", 2, "is empty: perhaps a variable", "virc batch rows.csv --to answers.csv"),
        ("batch a.png ''", 2, "is empty: perhaps a variable", "virc batch rows.csv --to answers.csv"),
        ("batch --input rows.csv", 2, "no such option '--input'", "without an option: virc batch SOURCE... [QUESTION]"),
        ("batch rows.csv --limit 5", 2, "no such option '--limit'", "virc batch --help"),
        ("solve a.png x? --stream", 2, "no such option '--stream'", "virc solve --help"),
        ("solve a.png x? --modle y", 2, "no such option '--modle'", "did you mean '--model'?"),
        ("solve a.png --prompt-file y", 2, "no such option '--prompt-file'", "here it is --question-file"),
        ("serve --model tiny", 2, "no such option '--model'", "without an option: virc serve MODEL"),
        ("serve -m tiny", 2, "no such option '-m'", "without an option: virc serve MODEL"),
        ("unpack --archive x", 2, "no such option '--archive'", "without an option: virc unpack ARCHIVE"),
        ("batch https://x.org/rows.csv", 5, "is on the network", "curl -LO https://x.org/rows.csv"),
    ],
)
def test_a_slip_gets_one_sentence_and_what_to_type(typed: str, code: int, said: str, hint: str) -> None:
    done = virc(*shlex.split(typed))
    assert done.code == code, done.err
    assert said in done.err
    assert hint in done.err.partition("hint: ")[2]
    assert "--to " not in typed or "loading" not in done.err
    assert "sk-1" not in done.err


@pytest.mark.usefixtures("here")
def test_a_picture_in_an_option_alone_is_the_picture() -> None:
    with serve([answer("7")]) as server:
        done = virc("solve", "--image", "a.png", "What is x?", "--endpoint", server.url)
    assert (done.code, done.out) == (0, "7\n")


def test_a_file_url_is_a_path_on_the_command_line(here: Path) -> None:
    for url in ((here / "my figure.png").as_uri(), f"file://localhost{here / 'a.png'}", f"FILE://{here / 'a.png'}"):
        with serve([answer("7")]) as server:
            done = virc("solve", url, "What is x?", "--endpoint", server.url)
        assert (done.code, done.out) == (0, "7\n"), done.err
    with serve([]) as server:
        done = virc("solve", f"file://elsewhere{here / 'a.png'}", "What is x?", "--endpoint", server.url)
        assert not server.chats()
    assert (done.code, "is a file of the machine elsewhere" in done.err) == (5, True)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("folder", ["/proc/no/out", "a.png/out", "x" * 300 + "/out"])
def test_a_trace_folder_that_cannot_be_written_is_refused_before_the_model(folder: str) -> None:
    for words in (["solve", "a.png", "q"], ["batch", "a.png", "q"], ["solve", "a.png", "q", "--pipeline", "prism"]):
        with serve([]) as server:
            done = virc(*words, "--trace", folder, "--endpoint", server.url)
            assert not server.chats()
        assert done.code in (1, 2), done.err
        assert folder in done.err
        assert "loading" not in done.err


@pytest.mark.parametrize(
    ("typed", "ours"), [(typed, ours) for typed, ours in slips.OPTIONS.items() if ours not in ("--help", "--version")]
)
def test_every_option_that_is_named_instead_exists(typed: str, ours: str) -> None:
    shown = virc("solve", "--help").out + virc("batch", "--help").out
    assert f"{ours} " in shown
    assert f" {typed} " not in shown.replace(", ", " , ") or typed == "-v"
