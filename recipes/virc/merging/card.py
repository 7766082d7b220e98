"""The card of a merged model: its README.md, with the head that the hub reads."""

import re
from collections.abc import Iterator, Mapping, Sequence

from virc.core.plugins import SEARCH_PATH
from virc.core.text import plain
from virc.models.provenance import Origin, called
from virc.runs.run import Info
from virc.systems.names import HUB_ID

_KINDS = {
    "shards": "the shards of its training were put together and rounded to bfloat16",
    "adapter": "the adapter was added to the weights of its base",
    "model": "the weights are as training saved them",
}
USAGE = "How to use it"
"""The heading of the section that says how."""
PROTOCOL = "The chat protocol it was trained with is in `virc_protocol.json`; with another one it answers worse."


def text(
    name: str,
    origin: Origin,
    info: Info | None,
    parameters: int,
    licences: Sequence[str],
    code: Mapping[str, str] | None = None,
    assumed: Sequence[str] = (),
) -> str:
    """The card of the model `name` as Markdown; it names no path of this machine.

    Args:
        assumed: what its system has in the place of what was not published, a sentence each.
    """
    base = [f"base_model: {origin.root}"] if origin.root and re.fullmatch(HUB_ID, origin.root) else []
    # What the hub reads; a licence is named by whoever publishes it.
    head = ["---", "library_name: transformers", "pipeline_tag: image-text-to-text", *base, "---", ""]
    body = [*_body(name, origin, info, parameters, licences, code or {})]
    said = ["", f"## Assumed where nothing was published: {len(assumed)}", "", *(f"- {each}" for each in assumed), ""]
    return "\n".join([*head, f"# {plain(name)}", "", *body, *(said if assumed else ())])


def with_section(card: str, heading: str, body: str) -> str:
    """A card with that text under a heading, in place of the section of that name; a new one is before usage."""
    section = f"## {heading}\n\n{body}\n\n"
    for place in (rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", rf"^(?=## (?:{USAGE}|Licence)$)"):
        changed, count = re.subn(place, lambda _: section, card, count=1, flags=re.MULTILINE | re.DOTALL)
        if count:
            return changed.rstrip("\n") + "\n"
    return f"{card.rstrip()}\n\n{section}".rstrip("\n") + "\n"


def _body(
    name: str, origin: Origin, info: Info | None, parameters: int, licences: Sequence[str], code: Mapping[str, str]
) -> Iterator[str]:
    yield from ("Merged by `virc merge`.", "", "| what | |", "|---|---|")
    yield from (f"| {what} | {cell(fact)} |" for what, fact in _facts(origin, info, parameters))
    if info:
        yield from ("", "## Settings of its last stage", "", "| key | value |", "|---|---|")
        settings = {key: value for key, value in info.settings.items() if _tells(value)}
        yield from (f"| {cell(key)} | {cell(value)} |" for key, value in settings.items())
    if code:
        yield from ("", "## Its own tools", "", "| file | SHA-256 |", "|---|---|")
        yield from (f"| code/{cell(file)} | {digest} |" for file, digest in code.items())
        yield from ("", "They are Python, which runs with your rights: read them first. virc loads them where")
        yield f"`{SEARCH_PATH}` names this model's folder `code`."
    yield from ("", f"## {USAGE}", "", "```", f"virc solve --model {plain(name)} IMAGE 'QUESTION'")
    yield from (f"virc serve {plain(name)} --agent", "```", "", PROTOCOL)
    yield from ("", "## Licence", "")
    beside = f" ({', '.join(map(plain, licences))} next to this file)" if licences else ""
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


def cell(value: object) -> str:
    return plain(value).replace("|", "/")
