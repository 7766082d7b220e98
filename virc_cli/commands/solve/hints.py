"""What the words of `virc solve` mean, and what to type where they mean nothing."""

import shlex
from collections.abc import Callable, Sequence
from glob import has_magic

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.files import is_file, is_folder
from virc.solving.sources.picture_files import is_source, pictures_of
from virc_cli.console.sources import is_image, is_rows

_USUAL = "virc solve IMAGE 'QUESTION'"
_FURTHER = "virc solve --continue 'QUESTION'"


def image_and_question(
    image: str | None, question: str | None, has_file: bool, finds: Callable[[], bool], more_images: Sequence[str]
) -> tuple[str | None, str | None]:
    """Return the image and the question.

    A single word that is not an image is the question, if options name the images or `finds` says that the model
    finds its pictures itself.
    """
    if image is None or (question is None and not has_file and not is_image(image)):
        if more_images or finds():
            return None, image
        if image is None:
            raise UsageError("there is no image", _USUAL)
    if not image.strip():
        raise UsageError("IMAGE is empty: perhaps a variable of the shell is not set", _USUAL)
    if is_folder(image) or is_rows(image) or (has_magic(image) and is_source(image)):
        pictures_of([image], Reporter())  # raises: a folder without any
        many = [image] if is_rows(image) else [image, question or "QUESTION"]
        raise UsageError(f"{image} is not one picture: virc batch answers many", shlex.join(["virc", "batch", *many]))
    if question is not None and is_file(question):
        if not is_image(image):
            raise UsageError("image and question are swapped", shlex.join(["virc", "solve", question, image]))
        hint = f"--image {shlex.quote(question)} asks about both; --question-file reads the question from it"
        raise UsageError(f"the question {question} is a file", hint)
    return image, question


def trace_and_question(trace: str | None, question: str | None, has_file: bool) -> tuple[str | None, str | None]:
    """Return the trace to continue and the question; a single word that is neither file nor folder is the question."""
    if trace is not None and not trace.strip():
        raise UsageError("the word after --continue is empty: perhaps a variable of the shell is not set", _FURTHER)
    if trace is None and not has_file:
        raise UsageError("there is no question", _FURTHER)
    is_question = question is None and not has_file and trace and not is_file(trace) and not is_folder(trace)
    return (None, trace) if is_question else (trace, question)


def read_question(question: str | None, file: str | None, sources: Sequence[str], report: Reporter) -> str:
    """The question: as typed, or from `--question-file`."""
    from virc.solving import api

    if file is None:
        if question is None or not question.strip():
            raise UsageError("there is no question", _USUAL)
        if question.count("$") % 2:
            sentence = "the question has an odd number of $: the shell may have removed a part of it"
            report.warn(sentence, "put it in single quotes, or use --question-file FILE")
        return question
    if question is not None:
        raise UsageError("there are two questions: QUESTION and --question-file", "leave one out")
    if file == "-" and "-" in sources:
        raise UsageError("standard input cannot be both image and question", "name a file for one of them")
    return api.read_question(file)
