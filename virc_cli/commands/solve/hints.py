"""One exact hint for each usual mistake on the command line of `virc solve`; `free` are words that no option takes."""

import re
import shlex
from collections.abc import Callable, Sequence, Set
from glob import has_magic
from inspect import signature
from pathlib import Path
from typing import get_args

from virc.core.errors import UsageError
from virc.core.events import Reporter
from virc.core.files import is_file, is_folder
from virc.solving.sources.picture_files import ENDINGS, ROWS, is_source

_OF_QUESTION = ("--question", "--prompt", "--query", "--text", "-p")
_OF_BATCH = ("--batch", "--to", "--concurrency", "--column")
_URL = re.compile(r"(https?://|data:|file://)", re.IGNORECASE)


def explain(words: Sequence[str], error: UsageError, flags: Set[str]) -> UsageError | None:
    """A better error for a command line that the parser refused, or None."""
    options, free = split(words, flags)
    if error.message.startswith("no such option"):
        return _unknown_option(words, options, free)
    return _too_many(options, free) if "unexpected extra argument" in error.message else None


def _unknown_option(words: Sequence[str], options: Sequence[str], free: Sequence[str]) -> UsageError | None:
    if any(word.partition("=")[0] in _OF_BATCH for word in words):
        return _batch_error(options, free)
    if (question_first := _question_of_option(options)) and (free or "--image" in question_first):
        return UsageError("the question follows the picture, without an option", _line([*free, *question_first]))
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


def question_alone(
    image: str | None, question: str | None, question_file: str | None, finds: Callable[[], bool],
    more_images: Sequence[str] = (),
) -> tuple[str | None, str | None]:  # fmt: skip
    """Return the image and the question.

    A single word that is not an image is the question, if options name the images or `finds` says that the model
    finds its pictures itself.
    """
    is_one_text = image is not None and question is None and question_file is None and not is_image(image)
    return (None, image) if is_one_text and (more_images or finds()) else (image, question)


def check_one(
    image: str | None, question: str | None, finds: Callable[[], bool], more_images: Sequence[str] = ()
) -> None:
    if image is None and not more_images and not finds():
        raise UsageError("there is no image", "virc solve IMAGE 'QUESTION'")
    if image is not None and not image.strip():
        sentence = "IMAGE is empty: perhaps a variable of the shell is not set"
        raise UsageError(sentence, "virc solve IMAGE 'QUESTION'")
    if image is not None and (is_folder(image) or is_rows(image) or (has_magic(image) and is_source(image))):
        many = [image] if is_rows(image) else [image, question or "QUESTION"]
        raise UsageError(f"{image} is not one picture: virc batch answers many", shlex.join(["virc", "batch", *many]))
    if image is None or question is None or not is_file(question):
        return
    if is_image(image):
        raise UsageError(
            f"the question {question} is a file",
            f"{_line([image])} 'QUESTION' --image {shlex.quote(question)} asks about both; "
            f"--question-file {shlex.quote(question)} reads the question from it",
        )
    raise UsageError("image and question are swapped", _line([question, image]))


def check_dry_run(pipeline: str | None, as_json: bool) -> None:
    """Raise UsageError if `--dry-run` has no requests to print."""
    if pipeline is None:
        raise UsageError("--dry-run belongs to --pipeline", "virc solve IMAGE 'QUESTION' --pipeline FILE --dry-run")
    if as_json:
        raise UsageError("--dry-run prints what is sent as text", "leave --json out")


def read_question(question: str | None, file: str | None, sources: Sequence[str], report: Reporter) -> str:
    """The question: as typed, or from `--question-file`."""
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


def is_rows(word: str) -> bool:
    return is_file(word) and Path(word).suffix.lower() in ROWS


def split(words: Sequence[str], flags: Set[str]) -> tuple[list[str], list[str]]:
    """The options of a line with their values, and its free words; `flags` are the options without a value."""
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
    flags = {"--help"}
    for parameter in signature(command).parameters.values():
        kind, *option = get_args(parameter.annotation)
        if kind is bool:
            flags.update([option[0].default, *(option[0].param_decls or ())])  # Typer takes the first for a default
    return flags


def _too_many(options: Sequence[str], free: Sequence[str]) -> UsageError | None:
    """The error for more free words than an image and a question: several images, or quotes that are missing."""
    images = [word for word in free if is_image(word)]
    if len(images) > 1:
        question = " ".join(word for word in free if word not in images) or "QUESTION"
        listed = " ".join(map(shlex.quote, images))
        return UsageError(
            f"{len(images)} images at once",
            f"virc batch {listed} {shlex.quote(question)}; or --image for more pictures of one question",
        )
    for count in range(len(free) - 1, 1, -1):  # the most words first, as far as a question is left
        name = " ".join(free[:count])
        if is_file(name) or (_URL.match(name) and Path(name).suffix.lower() in ENDINGS):
            name = name if is_file(name) else name.replace(" ", "%20")
            line = [*options, name, " ".join(free[count:])]
            return UsageError("the name of the picture has spaces, and no quotes", _line(line))
    question = " ".join(free[1:])
    return UsageError("the question is several words", _line([*options, free[0], question]))


def _question_of_option(options: Sequence[str]) -> list[str]:
    """The question and then the other options, if an option of the line holds the question; else nothing."""
    index = next((index for index, word in enumerate(options) if word.partition("=")[0] in _OF_QUESTION), None)
    if index is None:
        return []
    _, equals, value = options[index].partition("=")
    after = index + 1 if equals else index + 2
    return [value if equals else " ".join(options[index + 1 : after]), *options[:index], *options[after:]]


def _batch_error(options: Sequence[str], free: Sequence[str]) -> UsageError:
    """The error for options that only `virc batch` has."""
    line, rest = list(free), iter(options)
    message = "virc solve answers one question, and virc batch many"
    for word in rest:
        name, equals, value = word.partition("=")
        if name == "--batch":
            message = "many rows are answered by virc batch"
            line.insert(0, value if equals else next(rest, "rows.jsonl"))
        else:
            line.append(word)
    return UsageError(message, shlex.join(["virc", "batch", *line]))


def _is_dashed_text(word: str) -> bool:
    """Whether a word begins with '-' and cannot be an option: those are letters and dashes."""
    return bool(re.match(r"-(?!-)", word)) and len(word) > 1 and not word.replace("-", "").isalpha()


def _line(words: Sequence[str]) -> str:
    return shlex.join(["virc", "solve", *words])
