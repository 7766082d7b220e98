"""What `virc doctor --endpoint` does behind its options: an endpoint is probed, and what was found is printed."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from virc.config import user as config
from virc.core.errors import ConfigError, UsageError
from virc.core.text import clause
from virc.families import registry as families
from virc.models.load import Choice, protocol_of
from virc.probing.probe import MOST_REQUESTS, probe
from virc.probing.result import Probed, keep, kept, shortcomings
from virc.probing.servers import server_name
from virc_cli.console import output

if TYPE_CHECKING:
    from virc.backends.openai.backend import OpenAIBackend

_SECONDS = 300.0
_UNITS = {
    "pixel": "pixels of the picture",
    "thousand": "thousandths of the picture's sides, 0 to 1000",
    "unit": "fractions of the picture's sides, 0 to 1",
}
_CALLS = {
    "text": "as text of the reply",
    "structured": "structured by the server, which is not told of the tools",
    "native": "structured, where the server is told of the tools",
}
_THOUGHTS = {
    "apart": "apart from the content",
    "tags": "in <think> tags within the content",
    "none": "none were seen",
}


def run(endpoint: str | None, model: str | None, timeout: float | None, show: bool) -> dict[str, Any]:
    """Probe an endpoint and keep what was found.

    Args:
        show: print it, line by line.

    Returns:
        The fields of `Probed`, and `file`, where they are kept.

    Raises:
        UsageError: no endpoint was named, here or in the settings.
        ConfigError, NetworkError, EngineError: it cannot be asked.
    """
    from virc.backends.openai.backend import OpenAIBackend

    flags = {"endpoint": endpoint, "model": model, "timeout": timeout}
    chosen = config.values(config.resolve(flags, os.environ, config.read(config.config_path(os.environ))))
    if chosen.endpoint is None:
        raise UsageError("which endpoint?", "virc doctor --endpoint http://localhost:11434/v1")
    backend = OpenAIBackend(
        chosen.endpoint, model or (chosen.model if endpoint is None else None), chosen.api_key,
        timeout=chosen.timeout or _SECONDS, max_retries=0, counts_image_tokens=False,
    )  # fmt: skip
    try:
        if published := _published(backend):
            sentence = f"{backend.model} needs no probe: it has a chat protocol of its own"
            raise ConfigError(f"{sentence} ({published})", f"virc solve {backend.named} IMAGE 'QUESTION'")
        before = kept(backend.endpoint, backend.model, backend.kind)
        backend.leave_out(before.left_out if before else ())
        found = _probed(backend)
    finally:
        backend.close()
    file = _kept(found)
    for line in _lines(found) if show else ():
        output.line(line)
    for warning in warnings(found):
        output.warn(warning)
    return {**msgspec.to_builtins(found), "file": file}


def warnings(found: Probed) -> Iterator[str]:
    """What goes wrong with such an endpoint, one sentence each."""
    if found.ended:
        yield f"the probe ended before all was asked, and keeps what it found: {found.ended}"
    if found.coordinates is None:
        yield "the model gave no box around a red rectangle: what it wants to look at cannot be cut out"
    elif found.calls is None:
        yield "the model called no tool: it may answer, and never look closer"
    yield from shortcomings(found)


def _published(backend: "OpenAIBackend") -> str | None:
    """Where the model's own chat protocol is from; None where it is a stock model.

    Raises:
        ConfigError: the endpoint runs the loop itself; or the model was trained with a protocol that is not here.
    """
    if backend.agent:
        return "the endpoint runs the loop itself: ask it with any OpenAI client"
    _, found, why = protocol_of(backend, Path.cwd(), Choice())
    return why if found else None


def _probed(backend: "OpenAIBackend") -> Probed:
    """What a probe finds; what the endpoint refused is kept also where that was every request."""
    try:
        return probe(backend, backend.endpoint, output.note)
    except ConfigError:
        if backend.left_out:
            refused = Probed(endpoint=backend.endpoint, model=backend.model, server=backend.kind)
            _kept(msgspec.structs.replace(refused, left_out=tuple(sorted(backend.left_out))))
            listed = ", ".join(sorted(backend.left_out))
            sentence = f"{backend.endpoint} refused {listed} one after the other, and {MOST_REQUESTS} requests are all"
            raise ConfigError(sentence, "the same command goes on from there") from None
        raise


def _kept(found: Probed) -> str | None:
    try:
        return str(keep(found))
    except (OSError, ConfigError) as error:
        output.warn(f"the result could not be kept, and will not be used: {clause(error)}")
        return None


def _lines(found: Probed) -> Iterator[str]:
    named = families.get(found.family) if found.family else families.UNKNOWN
    yield _row("endpoint", found.endpoint)
    yield _row("model", found.model + (f" on {server_name(found.server)}" if found.server else ""))
    yield _row("family", f"{named.name}: {named.about}")
    yield _row("boxes", _boxes(found))
    yield _row("pictures", _pictures(found))
    yield _row("order", {True: "as sent", False: "mixed up", None: "nothing tells"}[found.ordered])
    yield _row("images", _images(found))
    yield _row("tool calls", _CALLS[found.calls] if found.calls else "none came")
    yield _row("thoughts", _THOUGHTS[found.thoughts] if found.thoughts else "nothing tells")
    yield _row("context", f"{found.context:,} tokens" if found.context else "the server does not say")
    yield _row("refused", ", ".join(found.left_out) or "no parameter")
    yield _row("requests", f"{found.requests} of at most {MOST_REQUESTS}")


def _boxes(found: Probed) -> str:
    if found.coordinates is None:
        return "none came"
    turned = ", top before left" if found.box == "corners_yx" else ""
    return f"{_UNITS.get(found.coordinates, found.coordinates)}{turned}"


def _pictures(found: Probed) -> str:
    shown = {
        "none": "shown as large as they are sent",
        "down": f"scaled down to {found.longest} px a side",
        "fixed": "all shown at one size",
        None: "nothing tells whether they are scaled down",
    }[found.scaling]
    enlarged = (
        f"; small ones are enlarged to {found.min_pixels / 1e6:.2f} million px" if found.min_pixels else ""
    )
    return shown + enlarged


def _images(found: Probed) -> str:
    if found.images is None:
        return "nothing tells how many fit"
    more = found.images == found.asked_images
    return f"{found.images} in a conversation were taken{', more were not tried' if more else ''}"


def _row(name: str, content: Any) -> str:
    return f"{name:<13} {content}"
