"""An answer as its request wants it: within its limits, as JSON that fits a schema, or as a call of a client's tool.

`Finisher.finished` is the entry. For JSON and calls it first tries to fill the schema with the answer as it is; only if
that does not fit, the model is asked to write the JSON (`_drawn`).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from virc.backends.interface import Backend, Sampling
from virc.core.errors import ConfigError, EngineError, NetworkError
from virc.core.limits import bounded
from virc.core.seeds import derived
from virc.core.timeouts import Deadline
from virc.reasoning.session import Ask, Message
from virc.reasoning.turns import MARK, PLACE
from virc.serving.agent.answer import Answer, ClientCall, parts
from virc.serving.agent.engine_schema import enforced
from virc.serving.agent.request import AgentProblem, ClientTool
from virc.serving.chat_request import RefusedError

_FENCED = ("```json", "```")


class Schema:
    """A JSON schema (draft 2020-12) that answers are validated by.

    Args:
        param: the part of the request that it comes from.
        check: called before a value is validated; what it raises ends that.
    """

    def __init__(self, value: Mapping[str, Any], param: str, check: Callable[[], None]) -> None:
        self.value, self._param, self._check = value, param, check
        check()
        if fault := bounded.schema_fault(value):
            raise self._refused(fault)

    def fitting(self, text: str) -> str | None:
        """The JSON in a text, if it fits the schema; else None."""
        opening, closing = _FENCED
        text = text.strip().removeprefix(opening).removesuffix(closing).strip()
        self._check()
        try:
            value = msgspec.json.decode(text)
            return None if bounded.misfit(self.value, value) else json.dumps(value, ensure_ascii=False)
        except (ValueError, RecursionError):
            return None
        except bounded.CostlyError as error:
            raise self._refused(error.message) from None

    def filled(self, answer: str) -> str | None:
        """An answer as JSON without asking a model: it is such JSON, or the schema has one property that takes it."""
        properties = self.value.get("properties")
        if (whole := self.fitting(answer)) is not None:
            return whole
        if not isinstance(properties, dict) or len(properties) != 1:
            return None
        values: list[Any] = [answer]  # as a text, and as a number or the like
        with suppress(ValueError, RecursionError):
            values.append(msgspec.json.decode(answer.strip().removesuffix("°")))
        written = (json.dumps({name: value}, ensure_ascii=False) for name in properties for value in values)
        return next((text for text in written if self.fitting(text) is not None), None)

    def _refused(self, fault: str) -> RefusedError:
        return RefusedError(f"{self._param}: this is no JSON schema that can be used: {fault[:300]}", self._param)


_TOKEN = re.compile(r"\s*(?:[^\W\d_]{1,5}|\d|[^\w\s]|_)|\s+$")
_WRITE = "Write this answer as JSON that fits the JSON schema below. Write nothing else.\n\n{schema}"
_CALL = "Report this answer by the function {name}. Write its arguments as JSON that fits the JSON schema below. " + (
    "Write nothing else.\n\n{about}{schema}"
)
_CHOOSE = "Choose the function that reports this answer. Write its name as JSON, and nothing else.\n\n{functions}"
_FIRST_SEED = 10_000  # above the turns of a sample


class _NoFitError(Exception):
    """The model wrote nothing that fits."""


class _CutError(Exception):
    """The request's own limit of tokens cut what the model wrote."""


class Finisher:
    """Finishes the answers to one problem.

    Args:
        samplings: how each try of a turn is drawn.
        check: raises what ends the problem.
    """

    def __init__(
        self, problem: AgentProblem, backend: Backend, samplings: Sequence[Sampling], deadline: Deadline,
        check: Callable[[], None],
    ) -> None:  # fmt: skip
        self._problem, self._backend, self._samplings = problem, backend, samplings
        self._deadline, self._check_listener = deadline, check
        self._tokens = [0, 0]  # tokens of prompts and of completions
        self._tools = [(tool, self._schema(tool.schema, "tools")) for tool in problem.forced]
        self._format = None if problem.schema is None else self._schema(problem.schema, "response_format")

    def finished(self, answer: Answer, thoughts: Sequence[str]) -> Answer:
        """An answer as the request wants it; `thoughts` led to it."""
        if not self._tools and not self._format:
            return answer if answer.refusal is not None else self._limited(answer)
        if answer.refusal is not None:
            return msgspec.structs.replace(answer, content="")
        self._tokens = [answer.prompt_tokens, answer.completion_tokens]
        question = self._problem.question.replace(PLACE, MARK)
        sections = {"question": question, "reasoning": "\n\n".join(thoughts), "answer": answer.content}
        about = "\n\n".join(f"{name.capitalize()}:\n{text}" for name, text in sections.items() if text)
        fields: dict[str, Any]  # of the finished answer
        try:
            fields = self._as_call(answer.content, about) if self._tools else self._as_json(answer.content, about)
        except _NoFitError:
            refusal = f"the answer {answer.content[:200]!r} could not be written as JSON that fits the schema"
            fields = {"content": "", "refusal": refusal}
        except _CutError as cut:
            fields = {"content": str(cut), "finish": "length"}
        return msgspec.structs.replace(
            answer, prompt_tokens=self._tokens[0], completion_tokens=self._tokens[1], **fields
        )  # fmt: skip

    def _schema(self, value: Any, param: str) -> Schema:
        return Schema(value, param, self._check)

    def _check(self) -> None:
        self._check_listener()
        self._deadline.check()

    def _as_json(self, answer: str, about: str) -> dict[str, Any]:
        assert self._format
        text = self._format.filled(answer)
        if text is None:
            text = self._drawn(f"{about}\n\n{_WRITE.format(schema=json.dumps(self._format.value))}", self._format)
            if text == "{}" and not self._format.value.get(
                "properties"
            ):  # any object fits: an empty one would lose the answer
                text = self._format.fitting(json.dumps({"answer": answer})) or text
        return {"content": until(text, self._problem.stop)}

    def _as_call(self, answer: str, about: str) -> dict[str, Any]:
        tool, schema = self._tools[0] if len(self._tools) == 1 else self._choose_tool(about)
        arguments = schema.filled(answer)
        if arguments is None:
            described = f"{tool.description}\n\n" if tool.description else ""
            words = {"name": tool.name, "about": described, "schema": json.dumps(tool.schema)}
            arguments = self._drawn(f"{about}\n\n{_CALL.format(**words)}", schema)
        return {"content": "", "call": ClientCall(tool.name, arguments), "finish": "tool_calls"}

    def _choose_tool(self, about: str) -> tuple[ClientTool, Schema]:
        by_name = {tool.name: (tool, schema) for tool, schema in self._tools}
        properties = {"name": {"enum": [*by_name]}}
        names = self._schema({"type": "object", "properties": properties, "required": ["name"]}, "tools")
        functions = "\n".join(f"{tool.name}: {tool.description}" for tool, _ in self._tools)
        text = self._drawn(f"{about}\n\n{_CHOOSE.format(functions=functions)}", names)
        return by_name[msgspec.json.decode(text)["name"]]

    def _drawn(self, prompt: str, schema: Schema) -> str:
        """JSON that the model writes, in as many tries as there are samplings; _NoFitError, _CutError: none fits."""
        ask = Ask((Message("user", prompt),), (), json_schema=enforced(schema.value))
        for number, sampling in enumerate(self._samplings):
            longest = min(self._problem.max_tokens or sampling.max_tokens, sampling.max_tokens)
            seed = derived(self._problem.seed % 2**31, 0, _FIRST_SEED + number)
            sampling_of_try = msgspec.structs.replace(sampling, max_tokens=longest, seed=seed)
            self._check()
            try:
                reply = self._backend.reply(ask, sampling_of_try, lambda _: self._check(), self._deadline.left())
            except (ConfigError, EngineError, NetworkError):
                # Engines refuse schemas that they cannot enforce, or fail: the prompt alone shows the schema then.
                if ask.json_schema is None:
                    raise
                ask = msgspec.structs.replace(ask, json_schema=None)
                continue
            self._tokens[0] += reply.prompt_tokens or 0
            self._tokens[1] += reply.completion_tokens or 0
            _, content = parts(reply)
            text = schema.fitting(content)
            if text is not None:
                return text
            if reply.finish == "length" and longest < sampling.max_tokens:
                raise _CutError(content if content[:1] in ("{", "[") else "")
        raise _NoFitError

    def _limited(self, answer: Answer) -> Answer:
        content = until(answer.content, self._problem.stop)
        # Of a chat without images `max_tokens` was a limit of the reply itself.
        kept = content if self._problem.messages else first_tokens(content, self._problem.max_tokens)
        finish = "length" if kept != content else answer.finish
        return msgspec.structs.replace(answer, content=kept, finish=finish)


def until(text: str, stops: Sequence[str]) -> str:
    """A text up to the first of the stops."""
    return text[: min((at for at in map(text.find, stops) if at >= 0), default=len(text))]


def first_tokens(text: str, most: int | None) -> str:
    """The beginning of a text, of about `most` tokens: a digit, a sign, or five letters are one."""
    tokens = list(_TOKEN.finditer(text))
    return text if most is None or len(tokens) <= most else text[: tokens[most - 1].end()]
