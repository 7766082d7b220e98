"""Usual mistakes on the command line, and the line that was meant."""

import re
import shlex
from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile

from virc.core.errors import UsageError
from virc.core.text import nearest

OPTIONS: Mapping[str, str] = {
    "-V": "--version", "-v": "--version", "-m": "--model", "-i": "--image", "--images": "--image", "-o": "--to",
    "--image-path": "--image", "-e": "--endpoint", "--url": "--endpoint", "--base-url": "--endpoint", "--out": "--to",
    "--output": "--to", "-s": "--system", "--max-new-tokens": "--max-tokens", "-n": "--samples", "--gpu": "--device",
    "--temp": "--temperature", "-j": "--concurrency", "--workers": "--concurrency", "--batch-size": "--concurrency",
    "--debug": "--verbose", "--prompt-file": "--question-file",
}  # fmt: skip
"""What other programs call an option -> what it is called here."""
_OF_QUESTION = ("--question", "--prompt", "--query", "--text", "-p")
_OF_BATCH = ("--batch", "--to", "--concurrency", "--column")


def explain_option(option: str, options: Collection[str], arguments: Sequence[str], command: str) -> str | None:
    """A hint for an option that a command does not have: what it is called here, or that it is an argument."""
    ours = OPTIONS.get(option, option)
    if option in ("--api-key", "--api_key", "--key", "--token") and "--endpoint" in options:
        return "export VIRC_API_KEY=KEY: others see a key in a command line"
    if ours in options:
        return f"here it is {ours}"
    argument = ours.lstrip("-").upper()
    return f"without an option: {command} {argument}" if argument in arguments else None


def explain(words: Sequence[str], commands: Collection[str]) -> UsageError | None:
    """A better error for a line that does not begin with a command, or None."""
    from virc.solving.sources.picture_files import is_source
    from virc_cli.console.sources import is_file_name, is_image, is_rows

    command = next((word for word in words if word in commands), None)
    if command and words[0].startswith("-"):
        at = words.index(command)
        return UsageError(f"{words[0]} comes after the command", _line(command, [*words[:at], *words[at + 1 :]]))
    if nearest(words[0], commands):
        return None  # the parser's own hint names it
    sources = [word for word in words if len(word) > 1 and (is_source(word) or is_file_name(word))]
    if len(sources) == 1 and not is_rows(sources[0]) and (is_image(sources[0]) or is_file_name(sources[0])):
        return UsageError(f"no such command {words[0]!r}", _line("solve", _with_one_question(words, sources[0])))
    return UsageError(f"no such command {words[0]!r}", _line("batch", words)) if sources else None


def explain_solve(words: Sequence[str], error: UsageError) -> UsageError | None:
    """A better error for a line of `virc solve` that the parser refused, or None."""
    from virc_cli.console.sources import is_image

    given = [word.partition("=")[0] for word in words]
    pictures = [word for before, word in zip(["", *words], words, strict=False) if is_image(word) and before[:1] != "-"]
    if "unexpected extra argument" in error.message and pictures:
        if len(pictures) == 1:
            return UsageError("the question is several words", _line("solve", _with_one_question(words, pictures[0])))
        hint = f"{_line('batch', words)}; or --image for more pictures of one question"
        return UsageError(f"{len(pictures)} images at once", hint)
    if not error.message.startswith("no such option"):
        return None
    if any(name in _OF_BATCH for name in given):
        return UsageError("virc solve answers one question, and virc batch many", _line("batch", words, "--batch"))
    if option := next((name for name in given if name in _OF_QUESTION), None):
        return UsageError("the question follows the picture, without an option", _line("solve", words, option))
    dashed = [word for word in words if re.match("-[^-]", word) and not word.replace("-", "").isalpha()]
    line = f"{_line('solve', [word for word in words if word not in (*dashed, '--')])} -- {shlex.join(dashed)}"
    return UsageError("a question that begins with '-' looks like an option", line) if len(dashed) == 1 else None


def _with_one_question(words: Sequence[str], picture: str) -> list[str]:
    """The words, those of the question as one behind the picture; options before the picture stay there."""
    at = words.index(picture)
    before, text = [*words[:at]], [*takewhile(lambda word: not word.startswith("-"), words[at + 1 :])]
    rest = words[at + 1 + len(text) :]
    if not any(word.startswith("-") for word in before):
        before, text = [], before + text
    return [*before, picture, " ".join(text) or "QUESTION", *rest]


def _line(command: str, words: Sequence[str], without: str = "--") -> str:
    left = [word.removeprefix(f"{without}=") for word in words if word != without]
    return shlex.join(["virc", command, *left])
