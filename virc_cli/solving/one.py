"""One problem: thoughts on stderr, the answer on stdout."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from virc.core.errors import DataError, UsageError
from virc.core.files import contents
from virc.core.limits import MOST_QUESTION, check_problem
from virc.core.text import clause
from virc.core.timeouts import Deadline
from virc.models.load import Opened
from virc.reasoning.resize import smart_resize
from virc.solving.image_source import open_source, standard_input
from virc.solving.one import SCHEMA, solve
from virc.solving.outcome import failure_of, outcome, trace_folders, write_traces
from virc_cli.console import output
from virc_cli.console.progress import duration
from virc_cli.solving.narrate import Narrator
from virc_cli.solving.setup import Setup, open_chosen

_LONG = 60.0
_TOKENS_OF_A_TURN = 200


def run(
    setup: Setup, sources: Sequence[str], question: str, as_json: bool, blank: Mapping[str, object]
) -> None:
    """Solve one problem and print what came of it.

    Args:
        sources: paths, URLs or `-`, at least one.
        blank: the fields of `--json` before anything is known.

    Raises:
        VircError: there is no answer.
    """
    check_problem(sources, question)
    deadline = Deadline(setup.config.timeout)
    images = [open_source(source, offline=setup.offline, seconds=deadline.left()) for source in sources]
    folders = trace_folders(setup.trace, setup.config) if setup.trace else []
    with deadline.paused():
        opened, known = open_chosen(setup)
    narrator = Narrator(opened.chat_protocol.protocol)
    try:
        _estimate(opened, images)
        asked = (setup.config, opened.backend, opened.chat_protocol.protocol, images, question)
        solved = solve(*asked, on_event=narrator, deadline=deadline)
    finally:
        narrator.end()
        opened.backend.close()
    fields = known | outcome(solved)
    output.know(**fields)
    untraced = write_traces(folders, solved.attempts, setup.config, known)
    if setup.trace and not untraced:
        fields["trace"] = str(setup.trace)
        output.know(trace=fields["trace"])
    error = failure_of(solved, opened) or untraced
    if solved.answer is not None and not as_json:
        output.line(one_line(solved.answer))
    if error:
        raise error
    if as_json:
        output.emit({"schema": SCHEMA, **blank, **fields, "error": None})


def one_line(answer: str) -> str:
    """An answer as one line: its line ends become spaces, nothing else changes."""
    return re.sub(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", " ", answer)


def read_question(question: str | None, file: str | None, sources: Sequence[str]) -> str:
    """The question: as typed, or from `--question-file`.

    Raises:
        UsageError: there is none, or two.
        DataError: the file cannot be read or is empty.
    """
    if file is None:
        if question is None or not question.strip():
            raise UsageError("there is no question", "virc solve IMAGE 'QUESTION'")
        if question.count("$") % 2:
            output.warn(
                "the question has an odd number of $: the shell may have eaten a part of it",
                "put it in single quotes, or use --question-file FILE",
            )
        return question
    if question is not None:
        raise UsageError("there are two questions: QUESTION and --question-file", "leave one out")
    if file == "-" and "-" in sources:
        raise UsageError("standard input cannot be both image and question", "name a file for one of them")
    return _from_file(file)


def _from_file(file: str) -> str:
    try:
        piped = standard_input().read(MOST_QUESTION + 1) if file == "-" else None
        content = contents(Path(file), MOST_QUESTION) if piped is None else piped
        question = content.decode("utf-8-sig").strip()
    except OSError as error:
        raise DataError(f"cannot read the question {file}: {clause(error)}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the question {file} is no UTF-8 text") from error
    if not question or len(content) > MOST_QUESTION:
        raise DataError(f"the question {file} is {'empty' if not question else 'over 1 MiB'}")
    return question


def _estimate(opened: Opened, images: Sequence[Image.Image]) -> None:
    """On a CPU: how much there is to read, how long the first turn takes, and what would cut that (C7)."""
    if opened.estimate is None:
        return
    grid = opened.backend.grid
    areas = [math.prod(smart_resize(*image.size, grid)) for image in images]
    tokens = sum(areas) // grid.factor**2
    reading, a_token = opened.estimate(tokens)
    drawing = _TOKENS_OF_A_TURN * a_token
    text = f"on the CPU: {tokens:,} image tokens, about {duration(reading + drawing)} for the first turn"
    if reading > _LONG:
        pixels = max(int(max(areas) * _LONG / reading), grid.min_pixels)
        text += f"; --max-pixels {pixels} would make it about {duration(_LONG + drawing)}"
    output.note(text)
