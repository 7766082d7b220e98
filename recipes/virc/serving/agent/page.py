"""The page of an agent endpoint: its files, and the policy that they are served with."""

import random
from collections.abc import Mapping
from functools import cache

import msgspec

from virc.core.web.html import asset
from virc.data.synth.families import polygons
from virc.models.registry import EMBEDDED
from virc.reasoning.images import Shown

_EXAMPLES = (("triangle", "0"), ("triangle", "1"), ("quadrilateral", "7"))
_ENLARGED = 2  # other models see more pixels than the embedded one, which sees what it was trained on


class Example(msgspec.Struct, frozen=True):
    name: str
    question: str
    url: str


@cache
def examples(model: str) -> tuple[Example, ...]:
    times, found = 1 if model == EMBEDDED else _ENLARGED, []
    for name, seed in _EXAMPLES:
        problem = polygons.generate(random.Random(seed), "heldout")
        picture = polygons.draw(problem)
        larger = picture.resize((picture.width * times, picture.height * times))
        found.append(Example(name, problem.question, Shown(larger).data_url))
    return tuple(found)


_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"  # no script of the page can make HTML of a text
)
_SCRIPTS = ("page.js", "turn.js", "frames.js", "elements.js", "last_chat.js")
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a newer version is seen at once
}


def files(model: str) -> dict[str, tuple[str, bytes]]:
    """The files of the page: path -> (media type, content). They name each other by relative addresses."""
    style = "".join(map(asset, ("core/web/page.css", "serving/agent/frames.css", "serving/agent/page.css")))
    scripts = {f"/{name}": asset(f"serving/agent/{name}").encode() for name in _SCRIPTS}
    return {
        "/": ("text/html; charset=utf-8", asset("serving/agent/page.html").encode()),
        "/page.css": ("text/css; charset=utf-8", style.encode()),
        "/examples.json": ("application/json", msgspec.json.encode(examples(model))),
        **{path: ("text/javascript; charset=utf-8", content) for path, content in scripts.items()},
    }
