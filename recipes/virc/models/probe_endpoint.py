"""Probes an endpoint and keeps the result, which solving uses from then on."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from virc.core.errors import ConfigError
from virc.core.events import OnEvent, Reporter
from virc.core.text import clause
from virc.models.load import Choice, protocol_of
from virc.probing.identity import identify
from virc.probing.probe import probe
from virc.probing.result import Probed, keep, kept_probe, shortcomings

if TYPE_CHECKING:
    from virc.backends.chat.backend import OpenAIBackend

SECONDS = 300.0
"""Longest wait for a reply, where none is chosen."""


class NoProbeNeededError(ConfigError):
    """The model has a chat protocol of its own, which says all that a probe would find out."""


def probe_endpoint(
    endpoint: str,
    model: str | None = None,
    *,
    api_key: str | None = None,
    headers: str | None = None,
    timeout: float = SECONDS,
    on_event: OnEvent | None = None,
) -> tuple[Probed, Path | None]:
    """Find out, by at most seven requests, how a server and its model count boxes, call tools and show pictures.

    Args:
        model: a name which the endpoint lists; None: the only one.
        headers: for the endpoint, as lines `NAME: VALUE`.
        timeout: longest wait for a reply, in seconds.
        on_event: gets progress, and a warning for everything that will go wrong with such an endpoint.

    Returns:
        The result, and its file; None where it could not be kept.

    Raises:
        NoProbeNeededError: the model has a chat protocol of its own.
        ConfigError: the endpoint refuses.
        NetworkError, EngineError: the endpoint cannot be asked.
    """
    from virc.backends.chat.backend import OpenAIBackend

    report = Reporter(on_event)
    backend = OpenAIBackend(
        endpoint, model, api_key, timeout, max_retries=0, counts_image_tokens=False, headers=headers
    )
    try:
        if backend.agent:
            own: object = True
            why = "the endpoint runs the tool loop itself: use any OpenAI client"
        else:
            _, own, why = protocol_of(backend, Path.cwd(), Choice())
        if own:
            sentence = f"{backend.model} needs no probe, since it has a chat protocol of its own"
            raise NoProbeNeededError(f"{sentence} ({why})", f"virc solve {backend.named} IMAGE 'QUESTION'")
        weights = identify(backend).digest
        before = kept_probe(backend.endpoint, backend.model, backend.kind, weights)
        backend.leave_out(before.left_out if before else ())
        found = _probed(backend, report, weights)
    finally:
        backend.close()
    found = msgspec.structs.replace(found, kept=time.time())
    file = _keep(found, report)
    for warning in _warnings(found):
        report.warn(warning)
    return found, file


def _warnings(found: Probed) -> Iterator[str]:
    if found.ended:
        yield f"the probe ended early, and keeps what it found: {found.ended}"
    if found.coordinates is None:
        yield "the model gave no box around a red rectangle: crops that it asks for cannot be cut out"
    elif found.calls is None:
        yield "the model called no tool: it may answer without looking closer"
    yield from shortcomings(found)


def _probed(backend: "OpenAIBackend", report: Reporter, weights: str | None) -> Probed:
    """The result of a probe; parameters that the endpoint refused are kept even if those were all requests."""
    try:
        return probe(backend, backend.endpoint, report.note, weights, goes_on=True)
    except ConfigError:
        if backend.left_out:
            refused = tuple(sorted(backend.left_out))
            address = backend.endpoint
            _keep(Probed(endpoint=address, model=backend.model, server=backend.kind, left_out=refused), report)
            sentence = (
                f"{address} refused {', '.join(refused)} one after the other, and {backend.requests} requests are all"
            )
            raise ConfigError(sentence, "the same command continues from there") from None
        raise


def _keep(found: Probed, report: Reporter) -> Path | None:
    try:
        return keep(found)
    except (OSError, ConfigError) as error:
        report.warn(f"the result could not be kept, and will not be used: {clause(error)}")
        return None
