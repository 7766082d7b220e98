"""A turn as a model would write it by a grammar: what `messages.parse` reads, the other way round."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from virc.reasoning.bodies import INDEX, Called
from virc.reasoning.grammar import ANSWER, ENDING, HERMES, CallForm, Grammar, marks
from virc.reasoning.marks.special_tokens import leading_thoughts, thought_closes
from virc.reasoning.messages import FormatError, ToolText, Turn, parse


def written(turn: Turn, grammar: Grammar) -> str:
    text = _text(turn, grammar)
    if parse(text, grammar) != turn:
        raise FormatError("tags", "the turn cannot be written by this grammar: it would be read in another way")
    return text


def assembled(text: str, thought: str | None, calls: Sequence[Called], grammar: Grammar) -> str:
    """The reply that a model wrote, where its server took thought and calls out of it.

    What the content says in marks of the grammar stays as it is. Of a grammar that marks no thought, one in marks of
    any family is left out: servers differ in whether they take it out.
    """
    if grammar.think is None:
        rest = leading_thoughts(text)[1]
        text = rest.lstrip() if rest != text and (rest.strip() or thought_closes().search(text)) else text
    elif thought and not any(mark.text == grammar.think[0].strip() for mark in marks(text, grammar)):
        space = "" if not text or text[0].isspace() else "\n"
        text = f"{thought.join(grammar.think)}{space}{text}"
    for call in calls:
        arguments = call.arguments if isinstance(call.arguments, str) else _json(call.arguments)
        form = next((form for form in grammar.calls if form.body == "call"), HERMES)
        space = "" if not text or text.endswith("\n") else "\n"
        text += f'{space}{form.open}\n{{"name": {_json(call.name)}, "{form.envelope}": {arguments}}}\n{form.close}'
    return text


def _text(turn: Turn, grammar: Grammar) -> str:
    thought = turn.think.join(grammar.think) if grammar.think else turn.think
    if turn.calls:
        forms = [(tool, *_form(tool, grammar)) for tool in turn.calls]
        if forms[0][1].acts:
            return _acting(turn.think, [_named(tool, form, said) for tool, form, said in forms], forms[0][1])
        if (first := forms[0][1]).body == "objects":
            said = f"{first.open}{_objects([given for *_, given in forms], first)}{first.close}"
        else:
            said = "\n".join(f"{form.open}{_body(tool, form, given)}{form.close}" for tool, form, given in forms)
    elif grammar.answer is None and (whole := next((form for form in grammar.calls if form.acts), None)):
        ending = ToolText(ENDING, {ANSWER: turn.answer})
        return _acting(turn.think, [_named(ending, whole, ending.arguments)], whole)
    else:
        said = (turn.answer or "").join(grammar.answer or ("", ""))
    return f"{thought}\n{said}" if thought else said


def _acting(think: str, actions: Sequence[Mapping[str, Any]], form: CallForm) -> str:
    if form.body == "actions":
        return _json({"thought": think, "actions": actions})
    return _json({"thought": think, "action_name": actions[0]["name"], "action": actions[0]["arguments"]})


def _form(tool: ToolText, grammar: Grammar) -> tuple[CallForm, dict[str, Any]]:
    for form in grammar.calls:
        if form.tool in (None, tool.name) and tool.arguments.keys() >= set(form.unnamed):
            given = {key: value for key, value in tool.arguments.items() if key in form.given}
            if given == dict(form.given):
                return form, {key: each for key, each in tool.arguments.items() if key not in given}
    raise FormatError("tags", f"the grammar has no way to write a call of {tool.name}")


def _body(tool: ToolText, form: CallForm, arguments: Mapping[str, Any]) -> str:
    if form.body == "call":
        return f"\n{_json(_named(tool, form, arguments))}" + ("\n" if form.close else "")
    if form.body == "arguments":
        return _json(_keyed(arguments, form))
    values = [arguments[name] for name in form.unnamed]
    if form.body == "function":
        listed = ", ".join(each if isinstance(each, str) else _json(each) for each in values)
        return listed if ")" in form.close else f"{listed})"
    return str(values[0]) if form.body == "text" else _json(values[0])


def _objects(calls: Sequence[Mapping[str, Any]], form: CallForm) -> str:
    listed: list[Mapping[str, Any]] = []
    for arguments in calls:
        image = {key: value for key, value in arguments.items() if key == INDEX}
        listed += [{**image, **each} for each in arguments[form.unnamed[0]]] if form.unnamed else [arguments]
    return _json([_keyed(each, form) for each in listed])


def _named(tool: ToolText, form: CallForm, arguments: Mapping[str, Any]) -> dict[str, Any]:
    names = {ours: theirs for theirs, ours in form.names.items()}
    return {"name": names.get(tool.name, tool.name), form.envelope: _keyed(arguments, form)}


def _keyed(arguments: Mapping[str, Any], form: CallForm) -> dict[str, Any]:
    keys = {ours: theirs for theirs, ours in form.keys.items() if ours}
    return {keys.get(key, key): value for key, value in arguments.items()}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
