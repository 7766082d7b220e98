"""What each server sends, byte by byte: what a model said, as the literal answer of the server it runs in.

Field names, nulls, ids, the pieces of calls, the last chunk and its end are those of the servers' own sources, or of
threads in which users quote them; nothing here knows how virc reads them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

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
        total = self.prompt + self.completion
        return {"prompt_tokens": self.prompt, "completion_tokens": self.completion, "total_tokens": total}


def pieces(text: str) -> list[str]:
    """A text as it is streamed."""
    return [text[at : at + PIECE] for at in range(0, len(text), PIECE)]


def event(value: object) -> bytes:
    """One server-sent event."""
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Wire:
    """One server, by what it sends otherwise than OpenAI's API.

    `arguments`: how those of a call are written: in pieces of text, as one text, as an object, or encoded twice.

    Of each body: its `ID`, and `MORE` of a whole one, `CHUNK` of a chunk. Of a choice: `CHOICE`. Of a message: the
    fields of a thought, `THOUGHT`, and those of each piece, `KEYS`. `FIRST` and `LAST` are the pieces around the reply.
    Of a call: `CALL`, its id by its place, and whether it has an index where it is `INDEXED`; its first piece has
    `BEGUN` beside its name, and later ones have `LATER` beside their arguments, and `NAMELESS` in place of a name.
    """

    arguments: Arguments = "pieces"

    ID: ClassVar[str] = "chatcmpl-1"
    MORE: ClassVar[Json] = {}
    CHUNK: ClassVar[Json] = {}
    CHOICE: ClassVar[Json] = {"logprobs": None}
    THOUGHT: ClassVar[tuple[str, ...]] = ()
    KEYS: ClassVar[Json] = {}
    FIRST: ClassVar[tuple[Json, ...]] = ()
    LAST: ClassVar[Json] = {}
    CALL: ClassVar[str] = "call_{}"
    INDEXED: ClassVar[bool] = True
    BEGUN: ClassVar[Json] = {"arguments": ""}
    LATER: ClassVar[Json] = {"type": "function"}
    NAMELESS: ClassVar[Json] = {}

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
        entry = {"id": model.id, "object": "model", "created": CREATED, **self.entry(model)}
        return {"object": "list", "data": [{key: value for key, value in entry.items() if value != ""}]}

    def entry(self, model: Listed) -> Json:
        """What a model has in that list beside the usual; an empty text leaves a key out."""
        raise NotImplementedError

    def message(self, said: Said) -> Json:
        """The message of an answer that is not streamed."""
        raise NotImplementedError

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        """The body of an answer that is not streamed."""
        choice = {"index": 0, "message": self.message(said), **self.choice(self.ended(said))}
        told = {"id": self.ID, "object": "chat.completion", "created": CREATED, "model": model.id}
        return {**told, "choices": [choice], "usage": counts.usage, **self.more(model)}

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        """The body of an answer that is streamed; `usage`: the client asked for the tokens."""
        for delta in self.deltas(said):
            yield delta if isinstance(delta, bytes) else self.event(model, delta)
        yield self.event(model, self.last(said), self.ended(said))
        if usage:
            yield event(self.chunk(model, [], usage=counts.usage))
        yield DONE

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        told = {"id": self.ID, "object": "chat.completion.chunk", "created": CREATED, "model": model.id}
        return {**told, "choices": choices, **more}

    def event(self, model: Listed, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": {**self.KEYS, **delta}, **self.choice(finish)}
        return event(self.chunk(model, [choice], **self.CHUNK))

    def choice(self, finish: str | None) -> Json:
        return {"finish_reason": finish, **self.CHOICE}

    def more(self, model: Listed) -> Json:
        return self.MORE

    def ended(self, said: Said) -> str:
        return said.ended

    def last(self, said: Said) -> Json:
        return self.LAST

    def deltas(self, said: Said) -> Iterator[Json | bytes]:
        """The pieces of a message, and lines between them."""
        yield from self.FIRST
        yield from filter(None, map(self.thought, pieces(said.thought)))
        for piece in pieces(said.content):
            yield {"content": piece}
        yield from self.called(said)

    def called(self, said: Said) -> Iterator[Json | bytes]:
        """The pieces of calls: a name, then its arguments."""
        for at, call in enumerate(said.calls):
            begun = {"index": at, "id": self.CALL.format(at), "type": "function"}
            yield {"tool_calls": [{**begun, "function": {"name": call.name, **self.BEGUN}}]}
            for part in self.in_pieces(call):
                function = {**self.NAMELESS, "arguments": part}
                yield {"tool_calls": [{"index": at, **self.LATER, "function": function}]}

    def calls(self, said: Said) -> list[Json]:
        """Whole calls."""
        calls: list[Json] = []
        for at, call in enumerate(said.calls):
            function = {"name": call.name, "arguments": self.written(call)}
            index = {"index": at} if self.INDEXED else {}
            calls.append({"id": self.CALL.format(at), "type": "function", "function": function, **index})
        return calls

    def thought(self, text: str) -> Json:
        """The fields of a thought; none of an empty one."""
        return dict.fromkeys(self.THOUGHT, text) if text else {}


@dataclass(frozen=True)
class OllamaV1(Wire):
    """Ollama's /v1: calls whole in one chunk, thoughts as `reasoning`.

    `old`: a role in every chunk, an empty text for no finish_reason, and "stop" even after a call.
    """

    arguments: Arguments = "whole"
    old: bool = False

    ID, CALL, THOUGHT, CHOICE = "chatcmpl-123", "call_ab12cd3{}", ("reasoning",), {}
    MORE: ClassVar[Json] = {"system_fingerprint": "fp_ollama"}
    CHUNK = MORE

    def entry(self, model: Listed) -> Json:
        return {"owned_by": "library"}

    def message(self, said: Said) -> Json:
        calls = {"tool_calls": self.calls(said)} if said.calls else {}
        return {"role": "assistant", "content": said.content, **self.thought(said.thought), **calls}

    def deltas(self, said: Said) -> Iterator[Json | bytes]:
        deltas: list[Json] = [{"content": "", "reasoning": piece} for piece in pieces(said.thought)]
        deltas += [{"content": piece} for piece in pieces(said.content)]
        if said.calls:
            deltas.append({"content": "", "tool_calls": self.calls(said)})
        for at, delta in enumerate(deltas):
            yield ({"role": "assistant"} if at == 0 or self.old else {}) | delta

    def last(self, said: Said) -> Json:
        return {"role": "assistant", "content": ""} if self.old else {}

    def choice(self, finish: str | None) -> Json:
        return {"finish_reason": finish or ("" if self.old else None)}

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        return super().chunk(model, choices, **self.MORE | more)

    def ended(self, said: Said) -> str:
        return said.finish if self.old else said.ended

    def calls(self, said: Said) -> list[Json]:
        return [{**call, "index": 0 if self.old else call["index"]} for call in super().calls(said)]


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
        thought = {"thinking": said.thought} if said.thought else {}
        message = {"content": said.content, **thought, **self._native_calls(said)}
        return self.line(model, message, **self._end(said, counts))

    def chat_stream(self, said: Said, model: Listed, counts: Counts) -> Iterator[bytes]:
        """The body of /api/chat that is streamed."""
        messages: list[Json] = [{"thinking": piece} for piece in pieces(said.thought)]
        messages += [{"content": piece} for piece in pieces(said.content)]
        calls = self._native_calls(said)
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

    def _native_calls(self, said: Said) -> Json:
        calls = [
            {"function": {"name": call.name, "arguments": call.arguments}} if self.bare else
            {"id": self.CALL.format(at), "function": {"index": at, "name": call.name, "arguments": call.arguments}}
            for at, call in enumerate(said.calls)
        ]  # fmt: skip
        return {"tool_calls": calls} if calls else {}


@dataclass(frozen=True)
class LlamaCpp(Wire):
    """llama.cpp's server: a name without arguments first, then these in pieces; comment lines while it is silent."""

    ID, CALL, THOUGHT, CHOICE = "chatcmpl-k3V9", "k3V9{:028d}", ("reasoning_content",), {}
    INDEXED, BEGUN, LATER = False, {}, {}
    MORE: ClassVar[Json] = {"system_fingerprint": "b7000-abc", "timings": {"cache_n": 0, "prompt_n": 900}}

    def listing(self, model: Listed) -> Json:
        alike = {"name": model.id, "model": model.id, "capabilities": ["completion", "multimodal"]}
        return {"models": [alike], **super().listing(model)}

    def entry(self, model: Listed) -> Json:
        meta = {"vocab_type": 2, "n_vocab": 151_936, "n_ctx": model.context, "n_ctx_train": 262_144}
        return {"aliases": [], "tags": [], "owned_by": "llamacpp", "meta": meta}

    def message(self, said: Said) -> Json:
        calls = {"tool_calls": self.calls(said)} if said.calls else {}
        return {"role": "assistant", "content": said.content, **self.thought(said.thought), **calls}

    def deltas(self, said: Said) -> Iterator[Json | bytes]:
        yield b":\n\n"
        yield {"role": "assistant", "content": None}
        for delta in super().deltas(said):
            yield delta
            if isinstance(delta, dict) and "id" in delta.get("tool_calls", [{}])[0]:
                yield b":\n\n"

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        runs = choices and choices[0]["finish_reason"] is None
        return super().chunk(model, choices, **({"system_fingerprint": "b7000-abc"} if runs else self.MORE), **more)


@dataclass(frozen=True)
class LmStudio(Wire):
    """LM Studio: later pieces of a call have an empty name; thoughts as `reasoning_content` where that is set.

    `trailing`: an empty call ends the list, as version 0.3.21 sends it.
    """

    trailing: bool = False

    ID, CALL, THOUGHT, INDEXED, NAMELESS = "chatcmpl-8cyb", "19362932{}", ("reasoning_content",), False, {"name": ""}

    def entry(self, model: Listed) -> Json:
        return {"created": "", "owned_by": "organization_owner"}

    def message(self, said: Said) -> Json:
        calls = {"tool_calls": self.calls(said)}
        return {"role": "assistant", "content": said.content, **self.thought(said.thought), **calls}

    def more(self, model: Listed) -> Json:
        return {"stats": {}, "system_fingerprint": model.id}

    def deltas(self, said: Said) -> Iterator[Json | bytes]:
        for delta in super().deltas(said):
            yield delta if isinstance(delta, bytes) or "tool_calls" in delta else {"role": "assistant", **delta}
        if said.calls and self.trailing:
            yield {"tool_calls": [{"index": len(said.calls), "id": "", "type": "function"}]}

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        return super().chunk(model, choices, **({"system_fingerprint": model.id} if choices else {}), **more)


@dataclass(frozen=True)
class Vllm(Wire):
    """vLLM: `thoughts` names the fields of thoughts of its version; `old`: an empty list of calls where there is none.

    Without its parsers all that a model says is content.
    """

    thoughts: tuple[str, ...] = ("reasoning",)
    old: bool = False

    CALL, INDEXED, BEGUN, LATER = "chatcmpl-tool-{}", False, {}, {}
    FIRST: ClassVar[tuple[Json, ...]] = ({"role": "assistant", "content": ""},)
    LAST: ClassVar[Json] = {"content": ""}
    MORE: ClassVar[Json] = {"service_tier": None, "prompt_logprobs": None}

    def entry(self, model: Listed) -> Json:
        allowed = {"id": "modelperm-1", "object": "model_permission", "allow_sampling": True, "group": None}
        served = {"root": model.root or model.id, "parent": None, "max_model_len": model.context}
        return {"owned_by": "vllm", **served, "permission": [allowed]}

    def message(self, said: Said) -> Json:
        nulls = dict.fromkeys(("refusal", "annotations", "audio", "function_call"))
        content = said.content or (None if said.calls else "")
        calls = {"tool_calls": self.calls(said)} if said.calls or self.old else {}
        thoughts = dict.fromkeys(self.thoughts, said.thought or None)
        return {"role": "assistant", "content": content, **nulls, **thoughts, **calls}

    def thought(self, text: str) -> Json:
        return dict.fromkeys(self.thoughts, text)

    def choice(self, finish: str | None) -> Json:
        ended = {"stop_reason": None, "token_ids": None} if finish else {}
        return {"logprobs": None, "finish_reason": finish, **ended}


@dataclass(frozen=True)
class Sglang(Wire):
    """SGLang: every key in every chunk, null where there is nothing."""

    ID, CALL, THOUGHT, NAMELESS = "5d1c", "call_{:024x}", ("reasoning_content",), {"name": None}
    KEYS: ClassVar[Json] = dict.fromkeys(("role", "content", "reasoning_content", "tool_calls"))
    FIRST: ClassVar[tuple[Json, ...]] = ({"role": "assistant", "content": ""},)
    LATER: ClassVar[Json] = {"id": None, "type": "function"}

    def entry(self, model: Listed) -> Json:
        return {"owned_by": "sglang", "root": model.id, "parent": None, "max_model_len": model.context}

    def message(self, said: Said) -> Json:
        calls = {"tool_calls": self.calls(said) or None}
        thought = {"reasoning_content": said.thought or None}
        return {"role": "assistant", "content": said.content or None, **thought, **calls}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        body = super().whole(said, model, counts)
        body["choices"][0]["matched_stop"] = 151_645
        return body

    def choice(self, finish: str | None) -> Json:
        return {"logprobs": None, "finish_reason": finish, "matched_stop": None}

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        return super().chunk(model, choices, **{"usage": None, **more})


@dataclass(frozen=True)
class MlxVlm(Wire):
    """MLX-VLM's server: thoughts in two fields, a role in every chunk, a call in the chunk that ends the reply."""

    arguments: Arguments = "whole"

    ID, CALL = "chatcmpl-9c2f", "6a1f3d5e-0000-4000-8000-{:012d}"
    THOUGHT = ("reasoning_content", "reasoning")
    KEYS: ClassVar[Json] = {
        "role": "assistant", **dict.fromkeys(("content", *THOUGHT, "tool_calls", "tool_call_id", "name")),
    }  # fmt: skip

    def entry(self, model: Listed) -> Json:
        return {"loaded": True}

    def message(self, said: Said) -> Json:
        content = None if said.calls and not said.content else said.content
        return {**self.KEYS, "content": content, **self.thought(said.thought), "tool_calls": self.calls(said) or None}

    def whole(self, said: Said, model: Listed, counts: Counts) -> Json:
        return {**super().whole(said, model, counts), "timings": {"prompt_n": counts.prompt}}

    def called(self, said: Said) -> Iterator[Json | bytes]:
        yield from ()

    def last(self, said: Said) -> Json:
        return {"tool_calls": self.calls(said) or None}

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        return super().chunk(model, choices, **({"usage": None, "timings": {}} if choices else {}), **more)


@dataclass(frozen=True)
class LmDeploy(Wire):
    """LMDeploy's api_server."""

    arguments: Arguments = "whole"

    ID, CALL, THOUGHT = "7", "chatcmpl-tool-{}", ("reasoning_content",)
    KEYS: ClassVar[Json] = {"role": "assistant", **dict.fromkeys(("content", "reasoning_content", "tool_calls"))}
    FIRST: ClassVar[tuple[Json, ...]] = ({"content": ""},)
    LAST: ClassVar[Json] = {"content": ""}

    def entry(self, model: Listed) -> Json:
        allowed = {"id": "modelperm-1", "object": "model_permission"}
        return {"owned_by": "lmdeploy", "root": model.id, "parent": None, "permission": [allowed]}

    def message(self, said: Said) -> Json:
        return {
            **self.KEYS,
            "content": said.content,
            **self.thought(said.thought),
            "tool_calls": self.calls(said) or None,
        }

    def called(self, said: Said) -> Iterator[Json | bytes]:
        if said.calls:
            yield {"tool_calls": self.calls(said)}

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        return super().chunk(model, choices, **{"usage": None, **more})


@dataclass(frozen=True)
class LiteLlm(Wire):
    """LiteLLM's proxy in front of another server: thoughts as `reasoning_content`, and once more as blocks."""

    ID, CHOICE, NAMELESS = "chatcmpl-5", {}, {"name": None}
    MORE: ClassVar[Json] = {"system_fingerprint": None}
    KEYS: ClassVar[Json] = dict.fromkeys(
        ("provider_specific_fields", "content", "role", "function_call", "tool_calls", "audio")
    )
    LATER: ClassVar[Json] = {"id": None, "type": "function"}

    def entry(self, model: Listed) -> Json:
        return {"created": 1_677_610_602, "owned_by": "openai"}

    def message(self, said: Said) -> Json:
        nulls = {"function_call": None, "provider_specific_fields": {"refusal": None}}
        thought = self._thought(said.thought, signature="") if said.thought else {}
        calls = self.calls(said) or None
        return {"content": said.content or None, "role": "assistant", "tool_calls": calls, **nulls, **thought}

    def deltas(self, said: Said) -> Iterator[Json | bytes]:
        for piece in pieces(said.thought):
            yield {**self._thought(piece), "content": ""}
        for piece in pieces(said.content):
            yield {"content": piece, "role": "assistant"}
        yield from self.called(said)

    def event(self, model: Listed, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "finish_reason": finish, "delta": {**self.KEYS, **delta}, "logprobs": None}
        return event(self.chunk(model, [choice]))

    def _thought(self, text: str, **more: str) -> Json:
        return {"reasoning_content": text, "thinking_blocks": [{"type": "thinking", "thinking": text, **more}]}


@dataclass(frozen=True)
class OpenRouter(Wire):
    """OpenRouter: comment lines between events, each thought twice, no `owned_by`."""

    ID: ClassVar[str] = "gen-1"
    MORE: ClassVar[Json] = {"provider": "Alibaba", "system_fingerprint": None}
    KEYS: ClassVar[Json] = {"role": "assistant", "content": ""}

    def listing(self, model: Listed) -> Json:
        kinds = {"modality": "text+image->text", "input_modalities": ["image", "text"]}
        named = {
            "id": model.id,
            "canonical_slug": model.id,
            "hugging_face_id": "",
            "name": model.id,
            "created": CREATED,
        }
        takes = ["tools", "top_k", "seed", "max_tokens"]
        known = {"context_length": model.context, "architecture": kinds, "supported_parameters": takes}
        return {"data": [{**named, **known}]}

    def message(self, said: Said) -> Json:
        message = {**self.KEYS, "content": said.content, "refusal": None, "reasoning": None}
        calls = {"tool_calls": self.calls(said)} if said.calls else {}
        return message | (self._thought(said.thought) if said.thought else {}) | calls

    def deltas(self, said: Said) -> Iterator[Json | bytes]:
        yield b": OPENROUTER PROCESSING\n\n"
        for piece in pieces(said.thought):
            yield self._thought(piece)
            yield b": OPENROUTER PROCESSING\n\n"
        for piece in pieces(said.content):
            yield {"content": piece}
        for delta in self.called(said):
            yield delta if isinstance(delta, bytes) else {"content": None, **delta}

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        *events, done = super().stream(said, model, counts, False)
        yield from events
        if usage:
            last = {"index": 0, "delta": self.KEYS, "finish_reason": None}
            yield event(self.chunk(model, [last], usage=counts.usage))
        yield done

    def choice(self, finish: str | None) -> Json:
        return {"finish_reason": finish, "native_finish_reason": finish, "logprobs": None}

    def chunk(self, model: Listed, choices: list[Json], **more: Any) -> Json:
        return super().chunk(model, choices, provider="Alibaba", **more)

    def _thought(self, text: str) -> Json:
        detail = {"type": "reasoning.text", "text": text, "signature": None, "format": "unknown", "index": 0}
        return {"reasoning": text, "reasoning_details": [detail]}


@dataclass(frozen=True)
class Gemini(Wire):
    """Gemini's OpenAI-compatible address: calls without an index, "stop" after them where they are streamed.

    `named`: whether calls have an id.
    """

    arguments: Arguments = "whole"
    named: bool = True

    ID, CALL, INDEXED, CHOICE = "c1", "call_29714{}", False, {}

    def entry(self, model: Listed) -> Json:
        return {"created": "", "owned_by": "google", "display_name": model.id}

    def message(self, said: Said) -> Json:
        content = {"content": said.content} if said.content else {}
        return {"role": "assistant", **content, **({"tool_calls": self.calls(said)} if said.calls else {})}

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        deltas: list[Json] = [{"content": piece, "role": "assistant"} for piece in pieces(said.content)]
        deltas += [{"role": "assistant", "tool_calls": [call]} for call in self.calls(said)]
        for delta in deltas:
            yield event(self.chunk(model, [{"delta": delta, "index": 0}]))
        last = {"delta": {"role": "assistant"}, "index": 0, "finish_reason": said.finish}
        yield event(self.chunk(model, [last], **({"usage": counts.usage} if usage else {})))
        yield DONE

    def calls(self, said: Said) -> list[Json]:
        signed = {"extra_content": {"google": {"thought_signature": "CiQB"}}}
        return [{**signed, **call, "id": call["id"] if self.named else ""} for call in super().calls(said)]


@dataclass(frozen=True)
class Mistral(Wire):
    """Mistral's API: content in parts where there is a thought, a call in the chunk that ends the reply."""

    arguments: Arguments = "whole"

    ID, CALL, CHOICE = "f1", "D681PevK{}", {}
    FIRST: ClassVar[tuple[Json, ...]] = ({"role": "assistant", "content": ""},)

    def entry(self, model: Listed) -> Json:
        can = {"completion_chat": True, "function_calling": True, "vision": True}
        told = {"owned_by": "mistralai", "capabilities": can, "name": model.id, "description": None, "type": "base"}
        held = {"max_context_length": model.context, "aliases": [], "deprecation": None}
        return {**told, **held, "default_model_temperature": 0.7}

    def message(self, said: Said) -> Json:
        text = [{"type": "text", "text": said.content}] if said.content else []
        content = [{**self._thinking(said.thought), "closed": True}, *text] if said.thought else said.content
        return {"role": "assistant", "tool_calls": self.calls(said) or None, "content": content}

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        deltas: list[Json] = [*self.FIRST, *({"content": [self._thinking(piece)]} for piece in pieces(said.thought))]
        for delta in (*deltas, *({"content": piece} for piece in pieces(said.content))):
            yield self.event(model, delta)
        last = {"content": ""} | ({"tool_calls": self.calls(said)} if said.calls else {})
        choice = {"index": 0, "delta": last, "finish_reason": said.ended}
        yield event(self.chunk(model, [choice], usage=counts.usage))
        yield DONE

    def calls(self, said: Said) -> list[Json]:
        return [{key: value for key, value in call.items() if key != "type"} for call in super().calls(said)]

    def _thinking(self, text: str) -> Json:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


@dataclass(frozen=True)
class OpenAi(Wire):
    """OpenAI's own API, and gateways that speak like it; `legacy`: `function_call` in place of `tool_calls`."""

    legacy: bool = False
    owner: str = "system"

    ID, CALL, INDEXED, LATER = "chatcmpl-B1", "call_oOWW{}", False, {}
    MORE: ClassVar[Json] = {"service_tier": "default", "system_fingerprint": "fp_1"}
    CHUNK: ClassVar[Json] = {**MORE, "usage": None}

    def entry(self, model: Listed) -> Json:
        return {"owned_by": self.owner}

    def message(self, said: Said) -> Json:
        message: Json = {"role": "assistant", "content": said.content or None, "refusal": None, "annotations": []}
        if not said.calls:
            return message
        calls = self.calls(said)
        return message | ({"function_call": calls[0]["function"]} if self.legacy else {"tool_calls": calls})

    def deltas(self, said: Said) -> Iterator[Json | bytes]:
        yield {"role": "assistant", "content": None if said.calls else "", "refusal": None}
        yield from super().deltas(said)

    def called(self, said: Said) -> Iterator[Json | bytes]:
        deltas = [delta for delta in super().called(said) if isinstance(delta, dict)]
        if self.arguments != "pieces":  # a call comes in one piece
            deltas = [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(self.calls(said))]
        for delta in deltas:
            yield {"function_call": delta["tool_calls"][0]["function"]} if self.legacy else delta

    def ended(self, said: Said) -> str:
        return "function_call" if self.legacy and said.calls else said.ended


@dataclass(frozen=True)
class Groq(Wire):
    """Groq: thoughts as `reasoning`, tokens in a field of its own."""

    arguments: Arguments = "whole"
    owner: str = "Alibaba Cloud"

    ID, CALL = "chatcmpl-7", "call_d5wg{}"
    MORE: ClassVar[Json] = {"x_groq": {"id": "req_1"}}
    CHUNK: ClassVar[Json] = {"system_fingerprint": "fp_2"}

    def entry(self, model: Listed) -> Json:
        served = {"active": True, "context_window": model.context, "public_apps": None, "max_completion_tokens": 8192}
        return {"owned_by": self.owner, **served}

    def message(self, said: Said) -> Json:
        calls = [{key: value for key, value in call.items() if key != "index"} for call in self.calls(said)]
        given = {"content": said.content, "reasoning": said.thought, "tool_calls": calls}
        return {"role": "assistant", **{key: value for key, value in given.items() if value}}

    def stream(self, said: Said, model: Listed, counts: Counts, usage: bool) -> Iterator[bytes]:
        deltas: list[Json] = [{"reasoning": piece, "channel": "analysis"} for piece in pieces(said.thought)]
        deltas += [{"content": piece} for piece in pieces(said.content)]
        deltas += [{"tool_calls": self.calls(said)}] if said.calls else []
        yield self._event(model, {"role": "assistant", "content": None}, x_groq={"id": "req_1"})
        for delta in deltas:
            yield self._event(model, delta)
        yield self._event(model, {}, said.ended, x_groq={"id": "req_1", "usage": counts.usage})
        if usage:
            yield event(self.chunk(model, [], usage=counts.usage))
        yield DONE

    def _event(self, model: Listed, delta: Json, finish: str | None = None, **more: Any) -> bytes:
        return event(self.chunk(model, [{"index": 0, "delta": delta, **self.choice(finish)}], **self.CHUNK, **more))
