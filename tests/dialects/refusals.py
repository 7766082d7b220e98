"""How servers refuse a request, in their own words: parameters they do not take, limits of tokens, long contexts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any

import yaml
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


def _bare(message: str) -> Refusal:
    """As SGLang and older versions of vLLM have it."""
    return Refusal(400, {"object": "error", "message": message, "type": "BadRequestError", "param": None, "code": 400})


def _invalid(message: str) -> Refusal:
    """As Groq has it."""
    return Refusal(400, {"error": {"message": message, "type": "invalid_request_error"}})


def _litellm(message: str) -> Refusal:
    return Refusal(400, {"error": {"message": message, "type": None, "param": None, "code": "400"}})


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


RECORDED: Mapping[str, Sequence[Mapping[str, Any]]] = yaml.safe_load(
    Path(__file__).with_name("refusals.yaml").read_text("utf-8")
)


def limited(body: Mapping[str, Any], most: int, value: int, prompt: int) -> Refusal:
    """The refusal of a reply of `value` tokens, of which a server writes `most` behind a prompt."""
    numbers = {"most": most, "value": value, "prompt": prompt, "context": most + prompt, "total": value + prompt}
    return Refusal(400, json.loads(Template(json.dumps(body)).substitute(numbers)))
