"""What each server sends, byte by byte: what a model said, as the literal answer of the server it runs in.

Field names, nulls, ids, the pieces of calls, the last chunk and its end are those of the servers' own sources, or of
threads in which users quote them; nothing here knows how virc reads them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
Arguments = Literal["pieces", "whole", "object", "double"]
Finish = Literal["stop", "length", "content_filter", "tool_calls"]

CREATED = 1_766_000_000
PIECE = 9


@dataclass(frozen=True)
class Call:
    """A tool call."""

    name: str
    arguments: Json


@dataclass(frozen=True)
class Said:
    """What a model said in one turn, after its server's parsers; `finish`: where it ended otherwise than by itself."""

    content: str = ""
    thought: str = ""
    calls: tuple[Call, ...] = ()
    finish: Finish = "stop"

    @property
    def ended(self) -> str:
        """The reason that most servers give."""
        return "tool_calls" if self.calls and self.finish == "stop" else self.finish


@dataclass(frozen=True)
class Listed:
    """A model as a server lists it."""

    id: str
    root: str | None = None
    context: int = 32_768
    pixels_of_token: int = 32


@dataclass(frozen=True)
class Counts:
    """Tokens of one exchange."""

    prompt: int
    completion: int

    @property
    def usage(self) -> Json:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
        }


def pieces(text: str) -> list[str]:
    """A text as it is streamed."""
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Wire:
    """One server. `arguments`: how those of a call are written: in pieces of text, as one text, as an object, or
    encoded twice.
    """

    arguments: Arguments = "pieces"

    def written(self, call: Call) -> Any:
        """The arguments of a call."""
        if self.arguments == "object":
            return call.arguments
        text = json.dumps(call.arguments)
        return json.dumps(text) if self.arguments == "double" else text

    def in_pieces(self, call: Call) -> list[Any]:
        """The arguments of a call as they are streamed."""
        written = self.written(call)
        return pieces(written) if self.arguments == "pieces" else [written]

    def listing(self, model: Listed) -> Json:
        """The body of /v1/models."""
        raise NotImplementedError

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        """The body of an answer that is not streamed."""
        raise NotImplementedError

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        """The body of an answer that is streamed; `usage`: the client asked for the tokens."""
        raise NotImplementedError


def _completion(model: Listed, id: str, choice: Json, counts: Counts, **more: Any) -> Json:
    return {
        "id": id,
        "object": "chat.completion",
        "created": CREATED,
        "model": model.id,
        "choices": [choice],
        "usage": counts.usage,
        **more,
    }


def _chunk(model: Listed, id: str, choices: list[Json], **more: Any) -> Json:
    return {
        "id": id,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model.id,
        "choices": choices,
        **more,
    }


@dataclass(frozen=True)
class OllamaV1(Wire):
    """Ollama's /v1: calls whole in one chunk, thoughts as `reasoning`.

    `old`: a role in every chunk, an empty text for no finish_reason, and "stop" even after a call.
    """

    arguments: Arguments = "whole"
    old: bool = False

    def listing(self, model: Listed) -> Json:
        entry = {"id": model.id, "object": "model", "created": CREATED, "owned_by": "library"}
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {"role": "assistant", "content": said.content}
        if said.thought:
            message["reasoning"] = said.thought
        if said.calls:
            message["tool_calls"] = self._calls(said)
        choice = {"index": 0, "message": message, "finish_reason": self._ended(said)}
        return _completion(model, "chatcmpl-123", choice, counts, system_fingerprint="fp_ollama")

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        deltas: list[Json] = [{"content": "", "reasoning": piece} for piece in pieces(said.thought)]
        deltas += [{"content": piece} for piece in pieces(said.content)]
        if said.calls:
            deltas.append({"content": "", "tool_calls": self._calls(said)})
        for at, delta in enumerate(deltas):
            whose = {"role": "assistant"} if at == 0 or self.old else {}
            running = "" if self.old else None
            yield event(self._chunk(model, whose | delta, running))
        last = {"role": "assistant", "content": ""} if self.old else {}
        yield event(self._chunk(model, last, self._ended(said)))
        if usage:
            yield event(_chunk(model, "chatcmpl-123", [], system_fingerprint="fp_ollama", usage=counts.usage))
        yield DONE

    def _ended(self, said: Said) -> str:
        return said.finish if self.old else said.ended

    def _calls(self, said: Said) -> list[Json]:
        return [
            {
                "id": f"call_ab12cd3{at}",
                "index": 0 if self.old else at,
                "type": "function",
                "function": {"name": call.name, "arguments": self.written(call)},
            }
            for at, call in enumerate(said.calls)
        ]

    def _chunk(self, model: Listed, delta: Json, finish: str | None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return _chunk(model, "chatcmpl-123", [choice], system_fingerprint="fp_ollama")


@dataclass(frozen=True)
class OllamaNative(OllamaV1):
    """Ollama with its own API: /api/version, /api/show, /api/ps and /api/chat, a JSON object a line.

    `bare`: calls without id and index, as its pages show them; `late`: a call stands in the last line.
    """

    architecture: str = "qwen3vl"
    bare: bool = False
    late: bool = False

    @property
    def version(self) -> Json:
        return {"version": "0.12.6"}

    def shown(self, model: Listed) -> Json:
        """The body of /api/show."""
        return {
            "modelfile": f"FROM {model.id}",
            "parameters": "temperature 1\ntop_k 20",
            "details": {"parent_model": "", "format": "gguf", "family": self.architecture},
            "model_info": {"general.architecture": self.architecture, f"{self.architecture}.context_length": 262_144},
            "capabilities": ["completion", "vision", "tools", "thinking"],
            "modified_at": "2026-01-02T03:04:05.678Z",
        }

    def running(self, model: Listed) -> Json:
        """The body of /api/ps."""
        return {"models": [{"name": model.id, "model": model.id, "size": 9, "context_length": 8192}]}

    def line(self, model: Listed, message: Json, **more: Any) -> Json:
        made = "2026-01-02T03:04:05.1Z"
        said = {"role": "assistant", "content": "", **message}
        return {"model": model.id, "created_at": made, "message": said, "done": False, **more}

    def chat(self, said: Said, model: Listed, counts: Counts) -> Json:
        """The body of /api/chat that is not streamed."""
        message: Json = {"content": said.content}
        if said.thought:
            message["thinking"] = said.thought
        if said.calls:
            message["tool_calls"] = self._native_calls(said)
        return self.line(model, message, **self._end(said, counts))

    def chat_stream(self, said: Said, model: Listed, counts: Counts) -> Iterator[bytes]:
        """The body of /api/chat that is streamed."""
        messages: list[Json] = [{"thinking": piece} for piece in pieces(said.thought)]
        messages += [{"content": piece} for piece in pieces(said.content)]
        calls = {"tool_calls": self._native_calls(said)} if said.calls else {}
        if calls and not self.late:
            messages.append(calls)
        for message in messages:
            yield json.dumps(self.line(model, message)).encode() + b"\n"
        last = calls if self.late else {}
        yield json.dumps(self.line(model, last, **self._end(said, counts))).encode() + b"\n"

    def _end(self, said: Said, counts: Counts) -> Json:
        times = {"total_duration": 4_883_583_458, "load_duration": 1_334_875}
        tokens = {"prompt_eval_count": counts.prompt, "eval_count": counts.completion}
        return {"done": True, "done_reason": said.finish, **times, **tokens}

    def _native_calls(self, said: Said) -> list[Json]:
        if self.bare:
            return [{"function": {"name": call.name, "arguments": call.arguments}} for call in said.calls]
        return [
            {"id": f"call_ab12cd3{at}", "function": {"index": at, "name": call.name, "arguments": call.arguments}}
            for at, call in enumerate(said.calls)
        ]


@dataclass(frozen=True)
class LlamaCpp(Wire):
    """llama.cpp's server: a name without arguments first, then these in pieces; comment lines while it is silent."""

    def listing(self, model: Listed) -> Json:
        entry = {
            "id": model.id,
            "aliases": [],
            "tags": [],
            "object": "model",
            "created": CREATED,
            "owned_by": "llamacpp",
            "meta": {"vocab_type": 2, "n_vocab": 151_936, "n_ctx": model.context, "n_ctx_train": 262_144},
        }
        alike = {"name": model.id, "model": model.id, "capabilities": ["completion", "multimodal"]}
        return {"models": [alike], "object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {"role": "assistant", "content": said.content}
        if said.thought:
            message["reasoning_content"] = said.thought
        if said.calls:
            message["tool_calls"] = [
                {
                    "type": "function",
                    "function": {"name": call.name, "arguments": self.written(call)},
                    "id": f"k3V9{at:028d}",
                }
                for at, call in enumerate(said.calls)
            ]
        choice = {"finish_reason": said.ended, "index": 0, "message": message}
        return _completion(model, "chatcmpl-k3V9", choice, counts, **self._more())

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        yield b":\n\n"
        yield self._event(model, {"role": "assistant", "content": None})
        for piece in pieces(said.thought):
            yield self._event(model, {"reasoning_content": piece})
        for piece in pieces(said.content):
            yield self._event(model, {"content": piece})
        for at, call in enumerate(said.calls):
            named = {"index": at, "id": f"k3V9{at:028d}", "type": "function", "function": {"name": call.name}}
            yield self._event(model, {"tool_calls": [named]})
            yield b":\n\n"
            for part in self.in_pieces(call):
                yield self._event(model, {"tool_calls": [{"index": at, "function": {"arguments": part}}]})
        yield self._event(model, {}, said.ended)
        if usage:
            yield event(_chunk(model, "chatcmpl-k3V9", [], usage=counts.usage, **self._more()))
        yield DONE

    def _event(self, model: Listed, delta: Json, finish: str | None = None) -> bytes:
        choice = {"finish_reason": finish, "index": 0, "delta": delta}
        more = self._more() if finish else {"system_fingerprint": "b7000-abc"}
        return event(_chunk(model, "chatcmpl-k3V9", [choice], **more))

    def _more(self) -> Json:
        return {"system_fingerprint": "b7000-abc", "timings": {"cache_n": 0, "prompt_n": 900}}


@dataclass(frozen=True)
class LmStudio(Wire):
    """LM Studio: later pieces of a call have an empty name; thoughts as `reasoning_content` where that is set.

    `trailing`: an empty call ends the list, as version 0.3.21 sends it.
    """

    trailing: bool = False

    def listing(self, model: Listed) -> Json:
        entry = {"id": model.id, "object": "model", "owned_by": "organization_owner"}
        return {"data": [entry], "object": "list"}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {"role": "assistant", "content": said.content, "tool_calls": []}
        if said.thought:
            message["reasoning_content"] = said.thought
        message["tool_calls"] = [
            {
                "type": "function",
                "id": f"19362932{at}",
                "function": {"name": call.name, "arguments": self.written(call)},
            }
            for at, call in enumerate(said.calls)
        ]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.ended}
        return _completion(model, "chatcmpl-8cyb", choice, counts, stats={}, system_fingerprint=model.id)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        whose: Json = {"role": "assistant"}
        for piece in pieces(said.thought):
            yield self._event(model, whose | {"reasoning_content": piece})
        for piece in pieces(said.content):
            yield self._event(model, whose | {"content": piece})
        for at, call in enumerate(said.calls):
            for number, part in enumerate(["", *self.in_pieces(call)]):
                begun = {"id": f"19362932{at}"} if number == 0 else {}
                function = {"name": "" if number else call.name, "arguments": part}
                entry = {"index": at, **begun, "type": "function", "function": function}
                yield self._event(model, {"tool_calls": [entry]})
        if said.calls and self.trailing:
            empty = {"index": len(said.calls), "id": "", "type": "function"}
            yield self._event(model, {"tool_calls": [empty]})
        yield self._event(model, {}, said.ended)
        if usage:
            yield event(_chunk(model, "chatcmpl-8cyb", [], usage=counts.usage))
        yield DONE

    def _event(self, model: Listed, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(_chunk(model, "chatcmpl-8cyb", [choice], system_fingerprint=model.id))


@dataclass(frozen=True)
class Vllm(Wire):
    """vLLM: `thoughts` names the field of thoughts of its version; `old`: an empty list of calls where there is none.

    Without its parsers all that a model says is content.
    """

    thoughts: tuple[str, ...] = ("reasoning",)
    old: bool = False

    def listing(self, model: Listed) -> Json:
        entry = {
            "id": model.id,
            "object": "model",
            "created": CREATED,
            "owned_by": "vllm",
            "root": model.root or model.id,
            "parent": None,
            "max_model_len": model.context,
            "permission": [{"id": "modelperm-1", "object": "model_permission", "allow_sampling": True, "group": None}],
        }
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        nulls = dict.fromkeys(("refusal", "annotations", "audio", "function_call"))
        thoughts = dict.fromkeys(self.thoughts, said.thought or None)
        content = said.content or (None if said.calls else "")
        message: Json = {"role": "assistant", "content": content, **nulls, **thoughts}
        if said.calls or self.old:
            message["tool_calls"] = [
                {
                    "id": f"chatcmpl-tool-{at}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": self.written(call)},
                }
                for at, call in enumerate(said.calls)
            ]
        ended = {"finish_reason": said.ended, "stop_reason": None, "token_ids": None}
        choice = {"index": 0, "message": message, "logprobs": None, **ended}
        return _completion(model, "chatcmpl-1", choice, counts, service_tier=None, prompt_logprobs=None)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        yield self._event(model, {"role": "assistant", "content": ""})
        for piece in pieces(said.thought):
            yield self._event(model, dict.fromkeys(self.thoughts, piece))
        for piece in pieces(said.content):
            yield self._event(model, {"content": piece})
        for at, call in enumerate(said.calls):
            begun = {"id": f"chatcmpl-tool-{at}", "type": "function", "index": at}
            yield self._event(model, {"tool_calls": [{**begun, "function": {"name": call.name}}]})
            for part in self.in_pieces(call):
                yield self._event(model, {"tool_calls": [{"index": at, "function": {"arguments": part}}]})
        yield self._event(model, {"content": ""}, said.ended)
        if usage:
            yield event(_chunk(model, "chatcmpl-1", [], usage=counts.usage))
        yield DONE

    def _event(self, model: Listed, delta: Json, finish: str | None = None) -> bytes:
        choice: Json = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        if finish:
            choice |= {"stop_reason": None, "token_ids": None}
        return event(_chunk(model, "chatcmpl-1", [choice]))


@dataclass(frozen=True)
class Sglang(Wire):
    """SGLang: every key in every chunk, null where there is nothing."""

    def listing(self, model: Listed) -> Json:
        entry = {
            "id": model.id,
            "object": "model",
            "created": CREATED,
            "owned_by": "sglang",
            "root": model.id,
            "parent": None,
            "max_model_len": model.context,
        }
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        calls = [
            {
                "id": f"call_{at:024x}",
                "index": at,
                "type": "function",
                "function": {"name": call.name, "arguments": self.written(call)},
            }
            for at, call in enumerate(said.calls)
        ]
        message = {
            "role": "assistant",
            "content": said.content or None,
            "reasoning_content": said.thought or None,
            "tool_calls": calls or None,
        }
        ended = {"finish_reason": said.ended, "matched_stop": 151_645}
        return _completion(model, "5d1c", {"index": 0, "message": message, "logprobs": None, **ended}, counts)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        yield self._event(model, role="assistant", content="")
        for piece in pieces(said.thought):
            yield self._event(model, reasoning_content=piece)
        for piece in pieces(said.content):
            yield self._event(model, content=piece)
        for at, call in enumerate(said.calls):
            for number, part in enumerate(["", *self.in_pieces(call)]):
                id, name = (f"call_{at:024x}", call.name) if number == 0 else (None, None)
                function = {"name": name, "arguments": part}
                entry = {"id": id, "index": at, "type": "function", "function": function}
                yield self._event(model, tool_calls=[entry])
        yield self._event(model, finish=said.ended)
        if usage:
            yield event(_chunk(model, "5d1c", [], usage=counts.usage))
        yield DONE

    def _event(self, model: Listed, finish: str | None = None, **delta: Any) -> bytes:
        keys = dict.fromkeys(("role", "content", "reasoning_content", "tool_calls"))
        ended = {"logprobs": None, "finish_reason": finish, "matched_stop": None}
        return event(_chunk(model, "5d1c", [{"index": 0, "delta": {**keys, **delta}, **ended}], usage=None))


@dataclass(frozen=True)
class MlxVlm(Wire):
    """MLX-VLM's server: thoughts in two fields, a role in every chunk, a call in the chunk that ends the reply."""

    arguments: Arguments = "whole"

    def listing(self, model: Listed) -> Json:
        entry = {"id": model.id, "object": "model", "created": CREATED, "loaded": True}
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message = self._message(
            content=None if said.calls and not said.content else said.content,
            reasoning_content=said.thought or None,
            reasoning=said.thought or None,
            tool_calls=self._calls(said) or None,
        )
        choice = {"index": 0, "finish_reason": said.ended, "message": message, "logprobs": None}
        return _completion(model, "chatcmpl-9c2f", choice, counts, timings={"prompt_n": counts.prompt})

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        for piece in pieces(said.thought):
            yield self._event(model, reasoning_content=piece, reasoning=piece)
        for piece in pieces(said.content):
            yield self._event(model, content=piece)
        yield self._event(model, said.ended, tool_calls=self._calls(said) or None)
        if usage:
            yield event(_chunk(model, "chatcmpl-9c2f", [], usage=counts.usage))
        yield DONE

    def _calls(self, said: Said) -> list[Json]:
        return [
            {
                "index": at,
                "id": f"6a1f3d5e-0000-4000-8000-{at:012d}",
                "type": "function",
                "function": {"name": call.name, "arguments": self.written(call)},
            }
            for at, call in enumerate(said.calls)
        ]

    def _message(self, **given: Any) -> Json:
        keys = ("content", "reasoning_content", "reasoning", "tool_calls", "tool_call_id", "name")
        return {"role": "assistant", **dict.fromkeys(keys), **given}

    def _event(self, model: Listed, finish: str | None = None, **delta: Any) -> bytes:
        choice = {"index": 0, "finish_reason": finish, "delta": self._message(**delta), "logprobs": None}
        return event(_chunk(model, "chatcmpl-9c2f", [choice], usage=None, timings={}))


@dataclass(frozen=True)
class LmDeploy(Wire):
    """LMDeploy's api_server."""

    arguments: Arguments = "whole"

    def listing(self, model: Listed) -> Json:
        entry = {
            "id": model.id,
            "object": "model",
            "created": CREATED,
            "owned_by": "lmdeploy",
            "root": model.id,
            "parent": None,
            "permission": [{"id": "modelperm-1", "object": "model_permission"}],
        }
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message = {
            "role": "assistant",
            "content": said.content,
            "reasoning_content": said.thought or None,
            "tool_calls": self._calls(said) or None,
        }
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.ended}
        return _completion(model, "7", choice, counts)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        yield self._event(model, content="")
        for piece in pieces(said.thought):
            yield self._event(model, reasoning_content=piece)
        for piece in pieces(said.content):
            yield self._event(model, content=piece)
        if said.calls:
            yield self._event(model, tool_calls=self._calls(said))
        yield self._event(model, said.ended, content="")
        if usage:
            yield event(_chunk(model, "7", [], usage=counts.usage))
        yield DONE

    def _calls(self, said: Said) -> list[Json]:
        return [
            {
                "id": f"chatcmpl-tool-{at}",
                "index": at,
                "type": "function",
                "function": {"name": call.name, "arguments": self.written(call)},
            }
            for at, call in enumerate(said.calls)
        ]

    def _event(self, model: Listed, finish: str | None = None, **delta: Any) -> bytes:
        keys = dict.fromkeys(("content", "reasoning_content", "tool_calls"))
        said = {"role": "assistant", **keys, **delta}
        choice = {"index": 0, "delta": said, "logprobs": None, "finish_reason": finish}
        return event(_chunk(model, "7", [choice], usage=None))


@dataclass(frozen=True)
class LiteLlm(Wire):
    """LiteLLM's proxy in front of another server: thoughts as `reasoning_content`, and once more as blocks."""

    def listing(self, model: Listed) -> Json:
        entry = {"id": model.id, "object": "model", "created": 1_677_610_602, "owned_by": "openai"}
        return {"data": [entry], "object": "list"}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {
            "content": said.content or None,
            "role": "assistant",
            "tool_calls": self._calls(said) or None,
            "function_call": None,
            "provider_specific_fields": {"refusal": None},
        }
        if said.thought:
            message["reasoning_content"] = said.thought
            message["thinking_blocks"] = [{"type": "thinking", "thinking": said.thought, "signature": ""}]
        choice = {"finish_reason": said.ended, "index": 0, "message": message}
        return _completion(model, "chatcmpl-5", choice, counts, system_fingerprint=None)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        for piece in pieces(said.thought):
            block = {"type": "thinking", "thinking": piece}
            more = {"reasoning_content": piece, "thinking_blocks": [block], "content": ""}
            yield self._event(model, more)
        for piece in pieces(said.content):
            yield self._event(model, {"content": piece, "role": "assistant"})
        for at, call in enumerate(said.calls):
            for number, part in enumerate(["", *self.in_pieces(call)]):
                id, name = (f"call_{at}", call.name) if number == 0 else (None, None)
                function = {"arguments": part, "name": name}
                entry = {"id": id, "function": function, "type": "function", "index": at}
                yield self._event(model, {"content": None, "tool_calls": [entry]})
        yield self._event(model, {"content": None}, said.ended)
        if usage:
            yield event(_chunk(model, "chatcmpl-5", [], usage=counts.usage))
        yield DONE

    def _calls(self, said: Said) -> list[Json]:
        return [
            {
                "index": at,
                "function": {"arguments": self.written(call), "name": call.name},
                "id": f"call_{at}",
                "type": "function",
            }
            for at, call in enumerate(said.calls)
        ]

    def _event(self, model: Listed, delta: Json, finish: str | None = None) -> bytes:
        keys = dict.fromkeys(("provider_specific_fields", "content", "role", "function_call", "tool_calls", "audio"))
        choice = {"index": 0, "finish_reason": finish, "delta": {**keys, **delta}, "logprobs": None}
        return event(_chunk(model, "chatcmpl-5", [choice]))


@dataclass(frozen=True)
class OpenRouter(Wire):
    """OpenRouter: comment lines between events, each thought twice, no `owned_by`."""

    def listing(self, model: Listed) -> Json:
        kinds = {"modality": "text+image->text", "input_modalities": ["image", "text"]}
        entry = {
            "id": model.id,
            "canonical_slug": model.id,
            "hugging_face_id": "",
            "name": model.id,
            "created": CREATED,
            "context_length": model.context,
            "architecture": kinds,
            "supported_parameters": ["tools", "top_k", "seed", "max_tokens"],
        }
        return {"data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {"role": "assistant", "content": said.content, "refusal": None, "reasoning": None}
        if said.thought:
            message |= {"reasoning": said.thought, "reasoning_details": [self._detail(said.thought)]}
        if said.calls:
            message["tool_calls"] = [
                {
                    "index": at,
                    "id": f"call_{at}",
                    "type": "function",
                    "function": {"name": call.name, "arguments": self.written(call)},
                }
                for at, call in enumerate(said.calls)
            ]
        ended = {"finish_reason": said.ended, "native_finish_reason": said.ended}
        choice = {"logprobs": None, **ended, "index": 0, "message": message}
        return _completion(model, "gen-1", choice, counts, provider="Alibaba", system_fingerprint=None)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        yield b": OPENROUTER PROCESSING\n\n"
        for piece in pieces(said.thought):
            thought = {"reasoning": piece, "reasoning_details": [self._detail(piece)]}
            yield self._event(model, {"role": "assistant", "content": "", **thought})
            yield b": OPENROUTER PROCESSING\n\n"
        for piece in pieces(said.content):
            yield self._event(model, {"role": "assistant", "content": piece})
        for at, call in enumerate(said.calls):
            for number, part in enumerate(["", *self.in_pieces(call)]):
                begun = {"id": f"call_{at}"} if number == 0 else {}
                function = {"name": call.name, "arguments": part} if number == 0 else {"arguments": part}
                entry = {"index": at, **begun, "type": "function", "function": function}
                yield self._event(model, {"role": "assistant", "content": None, "tool_calls": [entry]})
        yield self._event(model, {"role": "assistant", "content": ""}, said.ended)
        if usage:
            last = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            yield event(_chunk(model, "gen-1", [last], provider="Alibaba", usage=counts.usage))
        yield DONE

    def _detail(self, text: str) -> Json:
        return {"type": "reasoning.text", "text": text, "signature": None, "format": "unknown", "index": 0}

    def _event(self, model: Listed, delta: Json, finish: str | None = None) -> bytes:
        ended = {"finish_reason": finish, "native_finish_reason": finish, "logprobs": None}
        return event(_chunk(model, "gen-1", [{"index": 0, "delta": delta, **ended}], provider="Alibaba"))


@dataclass(frozen=True)
class Gemini(Wire):
    """Gemini's OpenAI-compatible address: calls without an index, "stop" after them where they are streamed.

    `named`: whether calls have an id.
    """

    arguments: Arguments = "whole"
    named: bool = True

    def listing(self, model: Listed) -> Json:
        entry = {"id": model.id, "object": "model", "owned_by": "google", "display_name": model.id}
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {"role": "assistant"}
        if said.content:
            message["content"] = said.content
        if said.calls:
            message["tool_calls"] = self._calls(said)
        choice = {"finish_reason": said.ended, "index": 0, "message": message}
        return _completion(model, "c1", choice, counts)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        for piece in pieces(said.content):
            yield self._event(model, {"content": piece, "role": "assistant"})
        for call in self._calls(said):
            yield self._event(model, {"role": "assistant", "tool_calls": [call]})
        yield self._event(model, {"role": "assistant"}, said.finish, counts if usage else None)
        yield DONE

    def _calls(self, said: Said) -> list[Json]:
        return [
            {
                "extra_content": {"google": {"thought_signature": "CiQB"}},
                "function": {"arguments": self.written(call), "name": call.name},
                "id": f"call_29714{at}" if self.named else "",
                "type": "function",
            }
            for at, call in enumerate(said.calls)
        ]

    def _event(self, model: Listed, delta: Json, finish: str | None = None, counts: Counts | None = None) -> bytes:
        choice: Json = {"delta": delta, "index": 0} | ({"finish_reason": finish} if finish else {})
        return event(_chunk(model, "c1", [choice]) | ({"usage": counts.usage} if counts else {}))


@dataclass(frozen=True)
class Mistral(Wire):
    """Mistral's API: content in parts where there is a thought, a call in the chunk that ends the reply."""

    arguments: Arguments = "whole"

    def listing(self, model: Listed) -> Json:
        entry = {
            "id": model.id,
            "object": "model",
            "created": CREATED,
            "owned_by": "mistralai",
            "capabilities": {"completion_chat": True, "function_calling": True, "vision": True},
            "name": model.id,
            "description": None,
            "max_context_length": model.context,
            "aliases": [],
            "deprecation": None,
            "default_model_temperature": 0.7,
            "type": "base",
        }
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        text = [{"type": "text", "text": said.content}] if said.content else []
        content = [{**self._thinking(said.thought), "closed": True}, *text] if said.thought else said.content
        message = {"role": "assistant", "tool_calls": self._calls(said) or None, "content": content}
        choice = {"index": 0, "finish_reason": said.ended, "message": message}
        return _completion(model, "f1", choice, counts)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        yield self._event(model, {"role": "assistant", "content": ""})
        for piece in pieces(said.thought):
            yield self._event(model, {"content": [self._thinking(piece)]})
        for piece in pieces(said.content):
            yield self._event(model, {"content": piece})
        last: Json = {"content": ""} | ({"tool_calls": self._calls(said)} if said.calls else {})
        choice = {"index": 0, "delta": last, "finish_reason": said.ended}
        yield event(_chunk(model, "f1", [choice], usage=counts.usage))
        yield DONE

    def _thinking(self, text: str) -> Json:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    def _calls(self, said: Said) -> list[Json]:
        return [
            {"id": f"D681PevK{at}", "function": {"name": call.name, "arguments": self.written(call)}, "index": at}
            for at, call in enumerate(said.calls)
        ]

    def _event(self, model: Listed, delta: Json) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return event(_chunk(model, "f1", [choice]))


@dataclass(frozen=True)
class OpenAi(Wire):
    """OpenAI's own API, and gateways that speak like it; `legacy`: `function_call` in place of `tool_calls`."""

    legacy: bool = False
    owner: str = "system"

    def listing(self, model: Listed) -> Json:
        entry = {"id": model.id, "object": "model", "created": CREATED, "owned_by": self.owner}
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {"role": "assistant", "content": said.content or None, "refusal": None}
        if said.calls and self.legacy:
            message["function_call"] = self._function(said.calls[0], self.written(said.calls[0]))
        elif said.calls:
            message["tool_calls"] = [
                {"id": f"call_oOWW{at}", "type": "function", "function": self._function(call, self.written(call))}
                for at, call in enumerate(said.calls)
            ]
        message["annotations"] = []
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._ended(said)}
        more = {"service_tier": "default", "system_fingerprint": "fp_1"}
        return _completion(model, "chatcmpl-B1", choice, counts, **more)

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        for delta in self._deltas(said):
            yield self._event(model, delta, None)
        yield self._event(model, {}, self._ended(said))
        if usage:
            yield event(_chunk(model, "chatcmpl-B1", [], usage=counts.usage))
        yield DONE

    def _deltas(self, said: Said) -> Iterator[Json]:
        yield {"role": "assistant", "content": None if said.calls else "", "refusal": None}
        for piece in pieces(said.content):
            yield {"content": piece}
        for at, call in enumerate(said.calls):
            first, *rest = ["", *self.in_pieces(call)] if self.arguments == "pieces" else self.in_pieces(call)
            function = self._function(call, first)
            begun = {"index": at, "id": f"call_oOWW{at}", "type": "function", "function": function}
            yield {"function_call": function} if self.legacy else {"tool_calls": [begun]}
            for part in rest:
                more = {"arguments": part}
                entry = {"index": at, "function": more}
                yield {"function_call": more} if self.legacy else {"tool_calls": [entry]}

    def _ended(self, said: Said) -> str:
        return "function_call" if self.legacy and said.calls else said.ended

    def _function(self, call: Call, arguments: Any) -> Json:
        return {"name": call.name, "arguments": arguments}

    def _event(self, model: Listed, delta: Json, finish: str | None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        more = {"service_tier": "default", "system_fingerprint": "fp_1", "usage": None}
        return event(_chunk(model, "chatcmpl-B1", [choice], **more))


@dataclass(frozen=True)
class Groq(Wire):
    """Groq: thoughts as `reasoning`, tokens in a field of its own."""

    arguments: Arguments = "whole"
    owner: str = field(default="Alibaba Cloud")

    def listing(self, model: Listed) -> Json:
        entry = {
            "id": model.id,
            "object": "model",
            "created": CREATED,
            "owned_by": self.owner,
            "active": True,
            "context_window": model.context,
            "public_apps": None,
            "max_completion_tokens": 8192,
        }
        return {"object": "list", "data": [entry]}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        message: Json = {"role": "assistant"}
        message |= {"content": said.content} if said.content else {}
        message |= {"reasoning": said.thought} if said.thought else {}
        message |= {"tool_calls": self._calls(said, False)} if said.calls else {}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.ended}
        return _completion(model, "chatcmpl-7", choice, counts, x_groq={"id": "req_1"})

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        yield self._event(model, {"role": "assistant", "content": None}, x_groq={"id": "req_1"})
        for piece in pieces(said.thought):
            yield self._event(model, {"reasoning": piece, "channel": "analysis"})
        for piece in pieces(said.content):
            yield self._event(model, {"content": piece})
        if said.calls:
            yield self._event(model, {"tool_calls": self._calls(said, True)})
        tokens = {"x_groq": {"id": "req_1", "usage": counts.usage}}
        yield self._event(model, {}, said.ended, **tokens)
        if usage:
            yield event(_chunk(model, "chatcmpl-7", [], usage=counts.usage))
        yield DONE

    def _calls(self, said: Said, streamed: bool) -> list[Json]:
        return [
            {
                "id": f"call_d5wg{at}",
                "type": "function",
                "function": {"name": call.name, "arguments": self.written(call)},
                **({"index": at} if streamed else {}),
            }
            for at, call in enumerate(said.calls)
        ]

    def _event(self, model: Listed, delta: Json, finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return event(_chunk(model, "chatcmpl-7", [choice], system_fingerprint="fp_2", **more))
