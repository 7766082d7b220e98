"""A page of ours as elements and text, and words that try to be more than text."""

import base64
import hashlib
import re
from html.parser import HTMLParser

HOSTILE = "</title></pre></svg><script>alert(1)</script><img src=x onerror='x'> \"&amp; ${style} \u202e\u0007 "


class Page(HTMLParser):
    """A page as elements (tag, attributes) in order, its text, and the text of each tag."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append((self.elements[-1][0] if self.elements else "", data))

    def all(self, tag: str, css: str | None = None) -> list[dict[str, str | None]]:
        return [found for name, found in self.elements if name == tag and css in (None, found.get("class"))]

    @property
    def text(self) -> str:
        return "".join(data for tag, data in self.texts if tag != "style")

    @property
    def skeleton(self) -> list[tuple[str, dict[str, str | None]]]:
        """The elements but for the marks of odd characters, and without what depends on a text's length."""
        marks = {"class": "char"}
        return [
            (tag, found if found.get("class") != "long" else {k: v for k, v in found.items() if k != "class"})
            for tag, found in self.elements
            if found != marks
        ]


def assert_nothing_runs_or_loads(page: Page, links: str, *pictures: str) -> None:
    """The page forbids all but its own style and the pictures of these policies; its links match, and nothing acts."""
    policies = [
        found["content"] or "" for found in page.all("meta") if "Content-Security" in (found.get("http-equiv") or "")
    ]
    style = next(data for tag, data in page.texts if tag == "style")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    own = ("default-src 'none'", *pictures, f"style-src 'sha256-{digest}'", "base-uri 'none'", "form-action 'none'")
    assert policies == ["; ".join(own)]
    assert not {"script", "link", "iframe", "object", "form", "img"} & {tag for tag, _ in page.elements}
    attributes = [(name, value or "") for _, found in page.elements for name, value in found.items()]
    assert not [name for name, _ in attributes if name.startswith("on") or name in ("style", "src")]
    assert all(re.match(links, value) for name, value in attributes if name == "href")
    assert not [each for each in ("url(", "@import", "//") if each in style]
