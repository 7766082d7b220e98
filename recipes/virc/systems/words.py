"""What of a system's words goes past its tools: marks of calls of tools or arguments that it has not."""

import re
from collections.abc import Collection, Iterator, Mapping

import msgspec
from msgspec import UNSET

from virc.config.dotted import Path
from virc.config.validation import Fault
from virc.core.text import did_you_mean, nearest, plain
from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import Tool
from virc.reasoning.checking import properties
from virc.reasoning.grammar import ANSWER, ENDING, HELD, CallForm, Index
from virc.reasoning.protocol import PLACEHOLDERS, Words

_QUESTION = "{question}"
_BRACES = re.compile(r"\\\w+\{[^}]*\}|\{(\w+)\}")
"""Placeholders; none in the braces of a command of LaTeX."""
_FILLED = frozenset[str]().union(*PLACEHOLDERS.values())


def faults(words: Words, offered: Collection[str], known: Mapping[str, Tool]) -> Iterator[Fault]:
    """Words that ask nothing, and calls that no tool would take.

    Args:
        words: of the system's file.
        offered: names of its tools.
        known: the tools whose files are loaded; a system with another is not looked at for what its calls name.
    """
    if words.first is not UNSET and _QUESTION not in words.first:
        yield Fault(("chat_protocol", "first"), "`first` has no question", f"{_QUESTION} is replaced by it")
    yield from _of_texts(words)
    if words.grammar is UNSET or not set(offered) <= set(known):
        return
    for number, form in enumerate(words.grammar.calls):
        path = ("chat_protocol", "grammar", "calls", str(number))
        if not offered and not form.acts:  # one of which answers
            yield Fault(path, "a call is written, and there are no tools", "calls: []")
            return
        yield from (Fault((*path, *each.path), each.message, each.hint) for each in _of_form(form, offered, known))


def _of_texts(words: Words) -> Iterator[Fault]:
    """Placeholders that nothing fills, and that are near to one that is filled there."""
    for field, filled in PLACEHOLDERS.items():
        value = getattr(words, field)
        texts: dict[Path, str] = {(): value} if isinstance(value, str) else {}
        if field == "error_texts" and value not in (None, UNSET):
            texts = {(key,): text for key, text in msgspec.to_builtins(value).items() if text}
        for path, text in texts.items():
            for name in dict.fromkeys(_BRACES.findall(text)):
                near = nearest(name, filled)
                if not name or name in filled or not (near or (name in _FILLED and field != "system")):
                    continue
                listed = ", ".join(f"{{{each}}}" for each in sorted(filled))
                sentence = f"{{{plain(name, 40)}}} is not filled in here, only {listed}"
                yield Fault(("chat_protocol", field, *path), sentence, f"did you mean {{{near}}}?" if near else None)


def _of_form(form: CallForm, offered: Collection[str], known: Mapping[str, Tool]) -> Iterator[Fault]:
    """The names in a way to write calls that are no tool's."""
    tool = form.tool
    meant: list[tuple[Path, str]] = [(("names", key), name) for key, name in form.names.items()]
    for path, name in [(("tool",), tool)] if tool else meant:
        if name not in offered and not (form.acts and name == ENDING):
            yield Fault(path, f"the system has no tool {plain(name, 60)!r}", did_you_mean(name, offered))
    tools = [tool] if tool and tool in offered else offered
    arguments = {key for name in tools for key in properties(known[name])}
    named: list[tuple[Path, str | None]] = [(("keys", key), argument) for key, argument in form.keys.items()]
    named += [(("unnamed",), argument) for argument in form.unnamed if form.keys.get(argument, "") is not None]
    named += [(("given", argument), argument) for argument in form.given]
    more = {"actions": ANSWER, "step": ANSWER, "call": HELD}.get(form.body)
    for where, argument in named:
        if argument is not None and argument not in (*arguments, more):
            sentence = f"no tool of it takes {plain(argument, 60)!r}"
            yield Fault(where, sentence, did_you_mean(argument, arguments))
    image = form.given.get(INDEX, 0)
    if type(image) is not int and image != Index.LAST:
        sentence = f"{INDEX} is the number of an image or `{Index.LAST}`, not {plain(str(image), 40)!r}"
        yield Fault(("given", INDEX), sentence)
