"""How servers refuse a request, in their own words: parameters they do not take, limits of tokens, long contexts."""

import json
from collections.abc import Mapping
from typing import Any

from server import Refusal

Sent = Mapping[str, Any]


def _openai(message: str, param: str | None, code: str | None) -> Refusal:
    told = {"message": message, "type": "invalid_request_error", "param": param, "code": code}
    return Refusal(400, {"error": told})


def _extra(sent: Sent) -> list[dict[str, Any]]:
    return [
        {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted", "input": value}
        for name, value in sent.items()
    ]


def _bad_request(message: str, param: str | None = None) -> Refusal:
    """As vLLM has it."""
    return Refusal(400, {"error": {"message": message, "type": "BadRequestError", "param": param, "code": 400}})


def _bare(message: str) -> Refusal:
    """As SGLang and older versions of vLLM have it."""
    return Refusal(400, {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400})


def _invalid(message: str) -> Refusal:
    """As Groq has it."""
    return Refusal(400, {"error": {"message": message, "type": "invalid_request_error"}})


def _litellm(message: str) -> Refusal:
    return Refusal(400, {"error": {"message": message, "type": None, "param": None, "code": "400"}})


def _dashscope(message: str) -> Refusal:
    told = {"param": None, "code": "invalid_parameter_error", "type": "invalid_request_error"}
    return Refusal(400, {"error": {"message": f"<400> InternalError.Algo.InvalidParameter: {message}", **told}})


def openai_unsupported(sent: Sent) -> Refusal:
    """OpenAI, of a model that thinks."""
    (name,) = sent
    instead = " Use 'max_completion_tokens' instead." if name == "max_tokens" else ""
    return _openai(
        f"Unsupported parameter: '{name}' is not supported with this model.{instead}", name, "unsupported_parameter"
    )


def openai_value(sent: Sent) -> Refusal:
    """OpenAI, of a value that it does not take."""
    ((name, value),) = sent.items()
    return _openai(
        f"Unsupported value: '{name}' does not support {value:g} with this model. Only the default (1) value is "
        "supported.",
        name,
        "unsupported_value",
    )


def openai_unrecognized(sent: Sent) -> Refusal:
    """OpenAI, older; one or several, without naming them elsewhere."""
    ending = "s" if len(sent) > 1 else ""
    return _openai(f"Unrecognized request argument{ending} supplied: {', '.join(sent)}", None, None)


def openai_unknown(sent: Sent) -> Refusal:
    """OpenAI, newer."""
    (name,) = sent
    return _openai(f"Unknown parameter: '{name}'.", name, "unknown_parameter")


def openai_verified(sent: Sent) -> Refusal:
    """OpenAI, of an organization that may not stream."""
    return _openai(
        "Your organization must be verified to stream this model. Please go to: "
        "https://platform.openai.com/settings/organization/general and click on Verify Organization.",
        "stream",
        "unsupported_value",
    )


def mistral(sent: Sent) -> Refusal:
    """Mistral."""
    message = {"detail": _extra(sent)}
    told = {"type": "invalid_request_error", "param": None, "code": None}
    return Refusal(422, {"object": "error", "message": message, **told})


def mistral_newer(sent: Sent) -> Refusal:
    """Mistral, with the same list twice."""
    lists = {"detail": _extra(sent), "message": _extra(sent)}
    return Refusal(422, {"object": "Error", **lists, "type": "invalid_request_error", "code": 3001})


def mistral_text(sent: Sent) -> Refusal:
    """Mistral, early 2024: the list is JSON in a text."""
    message = json.dumps({"detail": _extra(sent)})
    told = {"type": "internal_error_proxy", "param": None, "code": "1000"}
    return Refusal(422, {"object": "error", "message": message, **told})


def fastapi(sent: Sent) -> Refusal:
    """A server of one's own that forbids what it does not know."""
    return Refusal(422, {"detail": _extra(sent)})


def groq(sent: Sent) -> Refusal:
    """Groq; it guesses what was meant."""
    (name,) = sent
    meant = {"stream_options": "stream", "max_tokens": "max_completion_tokens"}.get(name, "n")
    return _invalid(f"property '{name}' is unsupported, did you mean '{meant}'?")


def groq_alone(sent: Sent) -> Refusal:
    """Groq, without a guess."""
    (name,) = sent
    return _invalid(f"property '{name}' is unsupported")


def cerebras(sent: Sent) -> Refusal:
    """Cerebras."""
    (name,) = sent
    told = {"type": "invalid_request_error", "param": "validation_error", "code": "wrong_api_format"}
    return Refusal(400, {"message": f"body.{name}: property '{name}' is unsupported", **told})


def gemini(sent: Sent) -> Refusal:
    """Gemini: a list, and all names at once."""
    sentences = [f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.' for name in sent]
    violations = [{"description": sentence} for sentence in sentences]
    details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations}]
    told = {"code": 400, "message": "\n".join(sentences), "status": "INVALID_ARGUMENT", "details": details}
    return Refusal(400, [{"error": told}])


def vllm_old(sent: Sent) -> Refusal:
    """vLLM up to 0.6, which forbade what it did not know."""
    found = _extra(sent)
    return _bare(str([{**each, "loc": tuple(each["loc"])} for each in found]))


def litellm(sent: Sent) -> Refusal:
    """LiteLLM's own refusal."""
    return _litellm(
        f"litellm.UnsupportedParamsError: openai does not support parameters: {list(sent)}, for model=o3. To drop "
        "these, set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: true`\n"
    )


def litellm_quoting(sent: Sent) -> Refusal:
    """LiteLLM, which quotes the server behind it."""
    inner = json.dumps(openai_unsupported(sent).body, indent=2)
    return _litellm(f"litellm.BadRequestError: OpenAIException - {inner}. Received Model Group=vision")


def openrouter(sent: Sent) -> Refusal:
    """OpenRouter, which quotes the server behind it in a field of its own."""
    raw = json.dumps(openai_unsupported(sent).body)
    error = {"message": "Provider returned error", "code": 400, "metadata": {"raw": raw, "provider_name": "OpenAI"}}
    return Refusal(400, {"error": error, "user_id": "user_1"})


def most_openai(most: int, value: int, prompt: int) -> Refusal:
    """OpenAI, of a longer reply than the model writes."""
    return _openai(
        f"max_tokens is too large: {value}. This model supports at most {most} completion tokens, whereas you "
        f"provided {value}.",
        "max_tokens",
        "invalid_value",
    )


def most_vllm(most: int, value: int, prompt: int) -> Refusal:
    """vLLM, of a reply that has no room behind the prompt."""
    context = most + prompt
    return _bad_request(
        f"'max_tokens' or 'max_completion_tokens' is too large: {value}. This model's maximum context length is "
        f"{context} tokens and your request has {prompt} input tokens ({value} > {context} - {prompt})."
    )


def most_vllm_old(most: int, value: int, prompt: int) -> Refusal:
    """vLLM, in its older words."""
    return _bare(
        f"This model's maximum context length is {most + prompt} tokens. However, you requested {value + prompt} "
        f"tokens ({prompt} in the messages, {value} in the completion). Please reduce the length of the messages or "
        "completion."
    )


def most_sglang(most: int, value: int, prompt: int) -> Refusal:
    """SGLang."""
    return _bare(
        f"Requested token count exceeds the model's maximum context length of {most + prompt} tokens. You requested a "
        f"total of {value + prompt} tokens: {prompt} tokens from the input messages and {value} tokens for the "
        "completion. Please reduce the number of tokens in the input messages or the completion to fit within the "
        "limit."
    )


def most_dashscope(most: int, value: int, prompt: int) -> Refusal:
    """Alibaba's own service of Qwen's models (open-webui issue 10507)."""
    refusal = _dashscope(f"Range of max_tokens should be [1, {most}]")
    return Refusal(400, {**refusal.body, "id": "chatcmpl-1"})


def most_deepseek(most: int, value: int, prompt: int) -> Refusal:
    """DeepSeek's service (DeepSeek-V3 issue 69)."""
    return _openai(f"Invalid max_tokens value, the valid range of max_tokens is [1, {most}]", None, None)


def most_groq(most: int, value: int, prompt: int) -> Refusal:
    """Groq (groq-moa issue 8)."""
    return _invalid(f"max_tokens for `llama-4-scout` must be less than or equal to {most}")


def most_volcano(most: int, value: int, prompt: int) -> Refusal:
    """ByteDance's Volcano Engine (TOKENICODE issue 3)."""
    message = (
        "The parameter max_tokens specified in the request is not valid: integer above maximum value, expected a "
        f"value <= {most}, but got {value} instead. Request id: 0217724325966514087c9e55f8b322b82cd17f72450d06e16ef7b"
    )
    told = {"code": "InvalidParameter", "param": "max_tokens", "type": "BadRequest"}
    return Refusal(400, {"error": {"message": message, **told}})


CONTEXTS: Mapping[str, Refusal] = {
    "openai": _openai("This model's maximum context length is 128000 tokens. However, your messages resulted in 144641 "
                      "tokens. Please reduce the length of the messages.", "messages", "context_length_exceeded"),
    "openai-newer": _openai("Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in "
                            "477469 tokens. Please reduce the length of the messages.", "messages",
                            "context_length_exceeded"),
    "vllm": _bad_request("This model's maximum context length is 32768 tokens. However, your prompt contains at least "
                         "32769 input tokens, which exceeds this limit even without any output tokens. Please reduce "
                         "the length of the input prompt. (parameter=input_tokens, value=32769)", "input_tokens"),
    "llamacpp": Refusal(400, {"error": {
        "message": "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": 9000, "n_ctx": 8192}}),
    "ollama": Refusal(400, {
        "error": '{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (8192 tokens'
                 '), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}'}),
    "sglang": _bare("The input (40000 tokens) is longer than the model's context length (32768 tokens)."),
    "lmstudio": Refusal(400, {
        "error": "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with "
                 "context length of only 32768 tokens, which is not enough. Try to load the model with a larger "
                 "context length, or provide a shorter input"}),
    "dashscope": _dashscope("Range of input length should be [1, 204800]"),
    "mlx": Refusal(400, {
        "detail": "Request needs 9000 context tokens (8488 prompt + 512 max generation), but MAX_KV_SIZE is 8192."}),
}  # fmt: skip
"""Prompts that are too long, as servers say it."""
