"""Turns what Typer's parser says about a wrong command line into our one sentence and a hint."""

import re

import typer

from virc.core.errors import UsageError
from virc.core.text import did_you_mean

# Typer exports only this one class of its parser's errors; its base is what they all share.
_PARSER_ERROR: type[BaseException] = typer.BadParameter.__mro__[1]
_UNKNOWN = re.compile(r"No such (command|option):? '?(.+?)'?(?:\.|$| \()")


def is_usage_error(error: BaseException) -> bool:
    """Whether Typer's parser refused the command line."""
    return isinstance(error, _PARSER_ERROR)


def translate(error: Exception) -> UsageError:
    """Our error for one of the parser's, with the nearest name or the help command as the hint."""
    context: typer.Context | None = getattr(error, "ctx", None)
    message = str(getattr(error, "format_message", error.__str__)())
    help_hint = f"{context.command_path if context else 'virc'} --help"
    if unknown := _UNKNOWN.match(message):
        kind, word = unknown.groups()
        return UsageError(f"no such {kind} '{word}'", did_you_mean(word, _names(context, kind), help_hint))
    return UsageError(message[:1].lower() + message[1:].rstrip("."), help_hint)


def _names(context: typer.Context | None, kind: str) -> list[str]:
    if context is None:
        return []
    if kind == "command":
        return list(getattr(context.command, "commands", {}))
    return [name for parameter in context.command.params for name in parameter.opts if name.startswith("-")]
