"""One exact hint for each usual mistake on the command line of `virc solve`."""

import re
import shlex
from collections.abc import Callable, Sequence, Set
from inspect import signature
from typing import get_args

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.files import is_file

_URL = re.compile(r"(https?://|data:)", re.IGNORECASE)


def explain(words: Sequence[str], error: UsageError, flags: Set[str]) -> UsageError | None:
    """A better error for a command line that the parser refused, or None.

    Args:
        words: those after `virc solve`.
        error: of the parser.
        flags: options that take no value.
    """
    options, free = split(words, flags)
    if error.message.startswith("no such option"):
        picture = next((word for word in words if word.startswith("-") and is_file(word)), None)
        if picture is not None:
            line = ["./" + word if word == picture else word for word in words]
            return UsageError(f"the picture {picture} looks like an option", _line(line))
        question = next((word for word in words if _is_dashed_text(word)), None)
        if question is None:
            return None
        others = [word for word in words if word not in (question, "--")]
        return UsageError(
            "a question that begins with '-' looks like an option", f"{_line(others)} -- {shlex.quote(question)}"
        )
    if "unexpected extra argument" in error.message:
        return _too_many(options, free)
    return None


def question_alone(
    image: str | None, question: str | None, question_file: str | None, finds: Callable[[], bool]
) -> tuple[str | None, str | None]:
    """The image and the question; a first word that is no image is the question, where there is no other and the
    model finds its pictures itself.

    Args:
        finds: whether it does; asked only where it matters.
    """
    alone = image is not None and question is None and question_file is None and not is_image(image)
    return (None, image) if alone and finds() else (image, question)


def check_one(
    image: str | None, question: str | None, to: str | None, concurrency: int | None, finds: Callable[[], bool]
) -> None:
    """Refuse image and question that were mixed up, and options of a batch.

    Args:
        finds: whether the model finds its pictures itself.

    Raises:
        UsageError: the two are swapped, the question is a second picture, or there is no image.
    """
    if to is not None or concurrency is not None:
        raise UsageError("--to and --concurrency belong to --batch", "virc solve --batch in.jsonl --to out.jsonl")
    if image is None and not finds():
        raise UsageError("there is no image", "virc solve IMAGE 'QUESTION'")
    if image is None or question is None or not is_file(question):
        return
    if is_image(image):
        raise UsageError(
            f"the question {question} is a file",
            f"{_line([image])} 'QUESTION' --image {shlex.quote(question)} asks about both; "
            f"--question-file {shlex.quote(question)} reads the question from it",
        )
    raise UsageError("image and question are swapped", _line([question, image]))


def check_batch(
    image: str | None, question: str | None, question_file: str | None, more_images: Sequence[str] | None, as_json: bool
) -> None:
    """Refuse what a batch has in its rows.

    Raises:
        UsageError: an image, a question or --json is given beside --batch.
    """
    if image is not None or question is not None or question_file is not None or more_images:
        raise UsageError("with --batch, images and questions are in its rows", "virc solve --batch in.jsonl")
    if as_json:
        raise UsageError("--batch writes JSON anyway", "virc solve --batch in.jsonl, without --json")


def check_dry_run(pipeline: str | None, batch: str | None, as_json: bool) -> None:
    """Refuse `--dry-run` where there are no requests to print, as a UsageError."""
    if pipeline is None:
        raise UsageError("--dry-run belongs to --pipeline", "virc solve IMAGE 'QUESTION' --pipeline FILE --dry-run")
    if as_json or batch is not None:
        raise UsageError("--dry-run prints what is sent for one problem, as text", "leave --json and --batch out")


def read_question(question: str | None, file: str | None, sources: Sequence[str], report: Reporter) -> str:
    """The question: as typed, or from `--question-file`.

    Raises:
        UsageError: there is none, or two.
        DataError: the file cannot be read or is empty.
    """
    from virc.solving import api

    if file is None:
        if question is None or not question.strip():
            raise UsageError("there is no question", "virc solve IMAGE 'QUESTION'")
        if question.count("$") % 2:
            report.warn(
                "the question has an odd number of $: the shell may have removed a part of it",
                "put it in single quotes, or use --question-file FILE",
            )
        return question
    if question is not None:
        raise UsageError("there are two questions: QUESTION and --question-file", "leave one out")
    if file == "-" and "-" in sources:
        raise UsageError("standard input cannot be both image and question", "name a file for one of them")
    return api.read_question(file)


def is_image(word: str) -> bool:
    """Whether a word can be a picture: a file that exists, a URL, or `-` for standard input."""
    return word == "-" or bool(_URL.match(word)) or is_file(word)


def split(words: Sequence[str], flags: Set[str]) -> tuple[list[str], list[str]]:
    """The options with their values, and the free words."""
    options: list[str] = []
    free: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            free.extend(rest)
        elif not word.startswith("-") or word == "-":
            free.append(word)
        else:
            options.append(word)
            if word not in flags and "=" not in word:
                options.extend(value for value in [next(rest, None)] if value is not None)
    return options, free


def flags_of(command: Callable[..., None]) -> set[str]:
    """Options of a command that take no value."""
    flags = {"--help"}
    for parameter in signature(command).parameters.values():
        kind, *option = get_args(parameter.annotation)
        if kind is bool:
            flags.update(option[0].param_decls)
    return flags


def _too_many(options: Sequence[str], free: Sequence[str]) -> UsageError | None:
    images = [word for word in free if is_image(word)]
    if len(images) > 1:
        question = " ".join(word for word in free if word not in images) or "QUESTION"
        listed = " ".join(map(shlex.quote, images))
        return UsageError(
            f"{len(images)} images at once",
            f'for f in {listed}; do virc solve "$f" {shlex.quote(question)}; done, '
            "or --batch rows.jsonl, or --image for more pictures of one question",
        )
    question = " ".join(free[1:])
    return UsageError("the question is several words", _line([*options, free[0], question]))


def _is_dashed_text(word: str) -> bool:
    """Whether a word begins with '-' and cannot be an option: those are letters and dashes."""
    return bool(re.match(r"-(?!-)", word)) and len(word) > 1 and not word[1:].replace("-", "").isalpha()


def _line(words: Sequence[str]) -> str:
    return shlex.join(["virc", "solve", *words])
