"""The card of a merged model: its README.md, with the head that the hub reads."""

import re
from collections.abc import Iterator, Mapping, Sequence

from virc.core.plugins import SEARCH_PATH
from virc.core.text import plain
from virc.models.provenance import HUB_ID, Origin, called
from virc.runs.run import Info

_KINDS = {
    "shards": "the shards of its training were put together and rounded to bfloat16",
    "adapter": "the adapter was added to the weights of its base",
    "model": "the weights are as training saved them",
}


def text(
    name: str,
    origin: Origin,
    info: Info | None,
    parameters: int,
    licences: Sequence[str],
    code: Mapping[str, str] | None = None,
) -> str:
    """The card of the model `name` as Markdown; it names no path of this machine.

    Args:
        info: of the run that trained it, if that is known.
        licences: names of the licence files of its base beside it.
        code: SHA-256 of the files of tools in `code/`, by their names.
    """
    base = [f"base_model: {origin.root}"] if origin.root and re.fullmatch(HUB_ID, origin.root) else []
    # What the hub reads; a licence is named by whoever publishes it.
    head = ["---", "library_name: transformers", "pipeline_tag: image-text-to-text", *base, "---", ""]
    return "\n".join([*head, f"# {plain(name)}", "", *_body(name, origin, info, parameters, licences, code or {})])


def _body(
    name: str, origin: Origin, info: Info | None, parameters: int, licences: Sequence[str], code: Mapping[str, str]
) -> Iterator[str]:
    yield from ("Merged by `virc merge`.", "", "| what | |", "|---|---|")
    yield from (f"| {what} | {_cell(fact)} |" for what, fact in _facts(origin, info, parameters))
    if info:
        yield from ("", "## Settings of its last stage", "", "| key | value |", "|---|---|")
        settings = {key: value for key, value in info.settings.items() if _tells(value)}
        yield from (f"| {_cell(key)} | {_cell(value)} |" for key, value in settings.items())
    if code:
        yield from ("", "## Its own tools", "", "| file | SHA-256 |", "|---|---|")
        yield from (f"| code/{_cell(file)} | {digest} |" for file, digest in code.items())
        yield from ("", "They are Python, which runs with your rights: read them first. virc loads them where")
        yield f"`{SEARCH_PATH}` names this model's folder `code`."
    yield from ("", "## How to use it", "", "```", f"virc solve --model {plain(name)} IMAGE 'QUESTION'")
    yield from (f"virc serve {plain(name)} --agent", "```", "")
    yield "The chat protocol it was trained with is in `virc_protocol.json`; with another one it answers worse."
    yield from ("", "## Licence", "")
    beside = f" ({', '.join(map(plain, licences))} beside this file)" if licences else ""
    base = called(origin.root) if origin.root else "its base"
    yield f"The weights derive from {base} and are under its licence{beside}. The rows may add terms of their own."
    yield ""


def _facts(origin: Origin, info: Info | None, parameters: int) -> Iterator[tuple[str, object]]:
    yield "made from", f"{origin.source}: {_KINDS[origin.kind]}"
    yield "parameters", f"{parameters:,}"
    if origin.root:
        yield "began as", called(origin.root)
    if info:
        yield "system, stage", f"{info.system}, {info.stage}"
        yield "overlays", ", ".join(info.overlays) or "none"
        yield "rows", f"{info.rows:,} of {info.dataset}"
    if origin.step is not None:
        yield "step", f"{origin.step:,}" + (f" of {origin.steps:,}" if origin.steps else "")


def _tells(value: object) -> bool:
    """Whether a setting says something elsewhere too: numbers and names do, paths and addresses do not."""
    named = isinstance(value, str) and re.fullmatch(r"[\w.+ -]+", value)
    return isinstance(value, bool | int | float) or bool(named)


def _cell(value: object) -> str:
    return plain(value).replace("|", "/")
