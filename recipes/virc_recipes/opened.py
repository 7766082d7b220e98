"""A model ready to be asked: found or reached, loaded, with the wording it is spoken to in."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from virc_recipes import models, tools, wording
from virc_recipes.backends import Backend
from virc_recipes.errors import ConfigError
from virc_recipes.reasoning.resize import QWEN2
from virc_recipes.systems import System
from virc_recipes.wording import Wording

DEMONSTRATION = (
    "no model was chosen: tiny, in the package, only shows how it works and is often wrong (README)"
)
REPLY_SECONDS = 120.0
"""Longest wait for one reply of an endpoint."""


class Choice(msgspec.Struct, frozen=True):
    """Which model is asked, and how.

    Args:
        model: what `models.find` takes; with an endpoint, the name it serves.
        endpoint: address of an OpenAI-compatible server; None: the model runs in this process.
        api_key: sent to that endpoint only.
        system: the system the model belongs to, where its name does not say so.
        protocol: wording file, or `default`.
        device: cpu, cuda, cuda:N or mps; None: the best found.
        max_pixels: largest area an image is shown with, in pixels; None: the model's own limit.
        timeout: seconds after which a reply of the endpoint is given up.
        tools: names or files of tools to offer beside those of the wording.
    """

    model: str | None = None
    endpoint: str | None = None
    api_key: str | None = None
    system: str | None = None
    protocol: str | None = None
    device: str | None = None
    max_pixels: int | None = None
    timeout: float = REPLY_SECONDS
    tools: tuple[str, ...] = ()


class Opened(msgspec.Struct, frozen=True):
    """A model ready to be asked.

    Args:
        name: what it is called in output.
        device: where it runs; None on an endpoint.
        warnings: what the user should know, one line each.
        embedded: whether it is a model inside the package.
        estimate: on a CPU, seconds to read that many image tokens and seconds a token drawn.
        at_once: problems it is asked at a time where nobody says how many.
        together: has a model in this process draw the replies of several threads in one batch; None on an endpoint.
        answers: asks whether the endpoint can be reached now; None in this process.
        context: longest conversation in tokens, where an endpoint tells it.
    """

    name: str
    backend: Backend
    wording: Wording
    device: str | None = None
    warnings: tuple[str, ...] = ()
    embedded: bool = False
    estimate: Callable[[int], tuple[float, float]] | None = None
    at_once: int = 1
    together: Callable[[], None] | None = None
    answers: Callable[[], bool] | None = None
    context: int | None = None


def open_model(choice: Choice, workspace: Path = Path()) -> Opened:
    """Reach the endpoint, or load the model from this machine.

    Raises:
        ConfigError: no such model, system or wording; the endpoint refuses, or runs the loop itself.
        SetupError: an extra is missing, or device or memory do not do.
        NetworkError: the endpoint is down.
    """
    return _endpoint(choice, choice.endpoint) if choice.endpoint else _weights(choice, workspace)


def _endpoint(choice: Choice, endpoint: str) -> Opened:
    from virc_recipes.backends.openai import OpenAIBackend

    grid = QWEN2.limited(choice.max_pixels)  # an endpoint does not tell its model's
    backend = OpenAIBackend(endpoint, choice.model, choice.api_key, timeout=choice.timeout, grid=grid)
    if backend.agent:
        backend.close()
        raise ConfigError(
            f"{endpoint} runs the loop itself (virc serve --agent): ask it with any other OpenAI client",
            "or give --endpoint the server behind it",
        )
    system, model = models.known(backend.model, choice.system)
    spoken = wording.of_endpoint(backend.published_protocol(), system, model, choice.protocol)
    spoken = _with_tools(spoken, system, choice)
    warnings = _untrained(spoken, backend.model, choice)
    return Opened(
        backend.model, backend, spoken, warnings=warnings, at_once=backend.at_once, answers=backend.answers,
        context=backend.context,
    )  # fmt: skip


def _weights(choice: Choice, workspace: Path) -> Opened:
    weights = models.find(choice.model, workspace, choice.system)
    spoken = wording.of_weights(weights, choice.protocol)  # before the weights: it fails in no time
    spoken = _with_tools(spoken, weights.system, choice)
    from virc_recipes.backends.local import load

    backend = load(weights.folder, choice.device, max_pixels=choice.max_pixels, adapter=weights.adapter)
    embedded = models.is_embedded(weights.folder) and weights.adapter is None
    warnings = backend.warnings + _untrained(spoken, weights.name, choice)
    if embedded and choice.model is None:
        warnings += (DEMONSTRATION,)
    return Opened(
        weights.name,
        backend,
        spoken,
        backend.device,
        warnings,
        embedded=embedded,
        estimate=backend.estimate if backend.device == "cpu" else None,
        together=backend.draw_together,
    )


def _with_tools(spoken: Wording, system: System | None, choice: Choice) -> Wording:
    beside = system.file.parent if system else None
    return Wording(wording.offering(spoken.protocol, choice.tools, beside))


def _untrained(spoken: Wording, name: str, choice: Choice) -> tuple[str, ...]:
    lacking = [each for each in spoken.protocol.tools if each not in tools.known()]
    if lacking:
        return (f"the wording of {name} offers {', '.join(lacking)}, which is not here to be called",)
    if spoken.origin != "own" or choice.protocol:
        return ()
    return (f"{name} is asked in this project's own wording, not in what it was trained with",)
