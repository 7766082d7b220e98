"""Usual mistakes on the command line, and the line that was meant.

`main` calls `explain` if a line does not begin with a command, and the others if a command has no such option. In a
line, `options` are the options with their values, and `free` words are all others, as `hints.split` tells them apart.
"""

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from virc.core.errors import UsageError
from virc.core.text import nearest

OPTIONS: Mapping[str, str] = {
    "-h": "--help", "-?": "--help", "-V": "--version", "-v": "--version", "-m": "--model", "-i": "--image",
    "--img": "--image", "--picture": "--image", "--image-path": "--image", "--images": "--image", "-e": "--endpoint",
    "--base-url": "--endpoint", "--api-base": "--endpoint", "--url": "--endpoint", "--server": "--endpoint",
    "-o": "--to", "--out": "--to", "--output": "--to", "-s": "--system", "--max-new-tokens": "--max-tokens",
    "-n": "--samples", "--n": "--samples", "-t": "--temperature", "--temp": "--temperature", "-j": "--concurrency",
    "--workers": "--concurrency", "--num-workers": "--concurrency", "--batch-size": "--concurrency",
    "--parallel": "--concurrency", "--gpu": "--device", "--debug": "--verbose",
    "--prompt-file": "--question-file",
}  # fmt: skip
"""What other programs call an option -> what it is called here."""
KEYS = ("--api-key", "--api_key", "--key", "--token", "--openai-api-key")
"""What other programs call the option of a key, which virc reads from the environment."""
_VERBS: Mapping[str, str] = {
    **dict.fromkeys("ask answer query run predict infer inference generate chat describe caption vqa".split(), "solve"),
    **dict.fromkeys("evaluate bench benchmark score test".split(), "eval"),
    **dict.fromkeys("finetune fine-tune sft fit".split(), "train"),
    **dict.fromkeys("pull get fetch install".split(), "download"),
    **dict.fromkeys("extract unzip untar".split(), "unpack"),
    **dict.fromkeys("start up server host".split(), "serve"),
    **dict.fromkeys("list ls models show".split(), "systems ls"),
    **dict.fromkeys("settings set login".split(), "config"),
    **dict.fromkeys("convert synth sample".split(), "data"),
    **dict.fromkeys("info status".split(), "doctor"),
    "version": "--version", "help": "--help",
}  # fmt: skip
"""What other programs call a command -> what it is called here."""

_INPUTS = ("-i", "--input", "-f", "--file", "--source", "--rows")
"""What other programs call the option of their input, which is the first argument here."""


def argument(option: str, arguments: Sequence[str]) -> str | None:
    """The argument of a command that was written as an option, such as `--image FILE` for IMAGE; else None."""
    name = OPTIONS.get(option, option).lstrip("-").upper()
    if name in arguments:
        return name
    return arguments[0] if arguments and option in _INPUTS else None


def near_option(word: str, options: Collection[str]) -> str | None:
    """The hint that names the nearest long option, or None. Dashes do not count: all options share them."""
    import difflib

    bare = {name.lstrip("-"): name for name in options if name.startswith("--")}
    near = difflib.get_close_matches(word.lstrip("-").lower(), bare, n=1, cutoff=0.7)
    return f"did you mean {bare[near[0]]!r}?" if near else None


def explain(words: Sequence[str], commands: Collection[str], error: UsageError) -> UsageError | None:
    """A better error for a line that does not begin with a command, or None."""
    from virc_cli.commands import solve
    from virc_cli.commands.solve import hints

    if len(words) == 1 and words[0] in OPTIONS:
        return UsageError(error.message, f"virc {OPTIONS[words[0]]}")
    options, free = hints.split(words, hints.flags_of(solve.command))
    command = next((word for word in free if word in commands), None)
    if command and words[0].startswith("-"):
        rest = [word for word in free if word != command]
        return UsageError(f"{words[0]} comes after the command", shlex.join(["virc", command, *rest, *options]))
    if free:
        means_solve = nearest(free[0], commands) in ("solve", "batch") or _VERBS.get(free[0]) == "solve"
        if line := _line_of(free[1:] if means_solve else free):
            return UsageError(f"no such command {free[0]!r}", shlex.join(["virc", *line, *options]))
    if not (hint := _hint_for_verb(free, commands)):
        return None
    if error.hint and error.hint.startswith("did you mean"):
        hint += f"; {error.hint}"
    return UsageError(error.message, hint)


def _hint_for_verb(free: Sequence[str], commands: Collection[str]) -> str | None:
    """The line for a first word that other programs use as a command; None if it is no such word."""
    meant = _VERBS.get(free[0]) if free else None
    if meant is None:
        return None
    if meant == "solve":
        return "virc solve IMAGE 'QUESTION'"
    if meant == "--help" and free[1:] and free[1] in commands:
        return f"virc {free[1]} --help"
    is_whole_line = meant.startswith("--") or " " in meant  # such as `--version` or `systems ls`
    return f"virc {meant}" if is_whole_line else f"virc {meant} --help"


def _line_of(words: Sequence[str]) -> list[str] | None:
    """The command line for these words, pictures or rows before the question; None if no word is a picture or rows."""
    from virc.core.files import near_name
    from virc.solving.sources.picture_files import is_source
    from virc_cli.commands.solve.hints import is_image, is_rows
    from virc_cli.console.sources import is_file_name

    words = [near_name(Path(word)) or word for word in words]
    sources = [word for word in words if len(word) > 1 and (is_source(word) or is_file_name(word))]
    if not sources:
        return None
    question = " ".join(word for word in words if word not in sources)
    first = sources[0]
    if len(sources) == 1 and not is_rows(first) and (is_image(first) or is_file_name(first)):
        return ["solve", first, question or "QUESTION"]
    return ["batch", *sources, *([question] if question else [])]
