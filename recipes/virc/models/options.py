"""Options of calls that open a model, without imports that take time."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from virc.core.declared import Option


class RequestOptions(TypedDict, total=False):
    """How a model is prompted and asked."""

    system: Annotated[
        str | Path | None, Option("SYSTEM", "System that the model belongs to.", "If its name does not say so.")
    ]
    protocol: Annotated[str | Path | None, Option("FILE", "Chat protocol of the model; `default`: that of virc.")]
    family: Annotated[str | None, Option("NAME", "Family of a stock model, such as qwen3-vl.")]
    extra_body: Annotated[Mapping[str, Any] | str | None, Option("JSON", "Further fields of requests to the endpoint.")]
    thinking: Annotated[
        Literal["on", "off"] | None,
        Option("on|off", "Whether the endpoint's model thinks.", "None: as the server has it."),
    ]


class ModelOptions(RequestOptions, total=False):
    """Which model is opened."""

    endpoint: Annotated[
        str | None,
        Option("URL", "OpenAI-compatible server; `none`: no server.", "None: the model runs in this process."),
    ]
    api_key: Annotated[str | None, Option(more="Sent to that endpoint only.")]
    device: Annotated[str | None, Option("DEVICE", "cpu, cuda, cuda:N or mps; default: the best found.")]
    max_pixels: Annotated[int | None, Option("PIXELS", "Most pixels of an image.", min=1)]


class ToolOptions(TypedDict, total=False):
    """What is offered to a model besides the tools of its chat protocol."""

    tools: Annotated[
        Iterable[str],
        Option(
            "+NAME", "Offer this custom tool as well; repeatable.", "By name or file.", default=(), is_repeated=True
        ),
    ]


class LoadOptions(ModelOptions, ToolOptions, total=False):
    """Options of `virc.load`."""
