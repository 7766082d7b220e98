"""What of a system's words goes past its tools: marks of calls of tools or arguments that it has not."""

from collections.abc import Collection, Iterator, Mapping

from msgspec import UNSET

from virc.config.dotted import Path
from virc.config.validation import Fault
from virc.core.text import did_you_mean, plain
from virc.reasoning.bodies import INDEX
from virc.reasoning.calls import Tool
from virc.reasoning.grammar import CallForm, Index
from virc.reasoning.protocol import Words

_QUESTION = "{question}"


def faults(words: Words, offered: Collection[str], known: Mapping[str, Tool]) -> Iterator[Fault]:
    """Words that ask nothing, and calls that no tool would take.

    Args:
        words: of the system's file.
        offered: names of its tools.
        known: the tools whose files are loaded; a system with another is not looked at for what its calls name.
    """
    if words.first is not UNSET and _QUESTION not in words.first:
        yield Fault(("chat_protocol", "first"), "`first` has no question", f"{_QUESTION} is replaced by it")
    if words.grammar is UNSET or not set(offered) <= set(known):
        return
    for number, form in enumerate(words.grammar.calls):
        path = ("chat_protocol", "grammar", "calls", str(number))
        if not offered:
            yield Fault(path, "a call is written, and there are no tools", "calls: []")
            return
        yield from (Fault((*path, *each.path), each.message, each.hint) for each in _of_form(form, offered, known))


def _of_form(form: CallForm, offered: Collection[str], known: Mapping[str, Tool]) -> Iterator[Fault]:
    """The names in a way to write calls that are no tool's."""
    tool = form.tool
    meant: list[tuple[Path, str]] = [(("names", key), name) for key, name in form.names.items()]
    for path, name in [(("tool",), tool)] if tool else meant:
        if name not in offered:
            yield Fault(path, f"the system has no tool {plain(name, 60)!r}", did_you_mean(name, offered))
    tools = [tool] if tool and tool in offered else offered
    arguments = {key for name in tools for key in known[name].SCHEMA["function"]["parameters"]["properties"]}
    named: list[tuple[Path, str | None]] = [(("keys", key), argument) for key, argument in form.keys.items()]
    named += [(("unnamed",), argument) for argument in form.unnamed if form.keys.get(argument, "") is not None]
    named += [(("given", argument), argument) for argument in form.given]
    for where, argument in named:
        if argument is not None and argument not in arguments:
            sentence = f"no tool of it takes {plain(argument, 60)!r}"
            yield Fault(where, sentence, did_you_mean(argument, arguments))
    image = form.given.get(INDEX, 0)
    if type(image) is not int and image != Index.LAST:
        sentence = f"{INDEX} is the number of an image or `{Index.LAST}`, not {plain(str(image), 40)!r}"
        yield Fault(("given", INDEX), sentence)
