"""The page of an agent endpoint: three files, and the policy that they are served with."""

from collections.abc import Mapping

from virc.core.html import asset

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"  # no script of the page can make HTML of a text
)
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # a newer version is seen at once
}
"""Headers of every file of the page."""


def files() -> dict[str, tuple[str, bytes]]:
    """The files of the page: path -> (media type, content). They name each other by relative addresses."""
    style = asset("core/page.css") + asset("serving/agent/page.css")
    return {
        "/": ("text/html; charset=utf-8", asset("serving/agent/page.html").encode()),
        "/page.css": ("text/css; charset=utf-8", style.encode()),
        "/page.js": ("text/javascript; charset=utf-8", asset("serving/agent/page.js").encode()),
    }
