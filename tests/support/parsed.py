"""A page of ours as elements and text, and words that try to be more than text."""

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
