"""The thoughts of a model in replies that are streamed."""

from virc.reasoning.bodies import bare_start
from virc.reasoning.grammar import TAGS, CallForm, Grammar, Mark, marks
from virc.reasoning.marks.special_tokens import thought_closes, thought_opens, undecided

_BARE = CallForm().open  # how a call begins that no mark opens


class Thoughts:
    """The thoughts in a streamed reply, without its marks, its tool call and its answer."""

    def __init__(self, grammar: Grammar = TAGS) -> None:
        parts = [(form.open.strip(), form.close.strip()) for form in grammar.calls]
        parts += [(grammar.answer[0].strip(), grammar.answer[1].strip())] if grammar.answer else []
        self._grammar, self._hidden = grammar, dict(parts)
        beginnings = {"".join(mark.split()) for part in grammar.parts() for mark in part}
        self._beginnings = beginnings | ({'{"'} if _BARE in self._hidden else set())
        self._reach = 2 * max(map(len, self._beginnings), default=0)
        self._held = ""
        self._until: str | None = None  # what ends the part that is left out; "": nothing does

    def feed(self, piece: str) -> str:
        """The text to show now; what may become a mark is held back until it is clear."""
        text = self._held + piece
        ends = range(max(0, len(text) - self._reach), len(text))
        half = next((at for at in ends if self._half(text[at:])), len(text))
        text, self._held = text[:half], text[half:]
        shown, position = "", 0
        for mark in self._marks(text):
            shown += self._visible(text[position : mark.start])
            if self._until is None:
                self._until = self._hidden.get(mark.text)
            elif mark.text and mark.text == self._until:
                self._until = None
            position = mark.end
        return shown + self._visible(text[position:])

    def rest(self, think: str) -> str:
        return ""

    def _marks(self, text: str) -> list[Mark]:
        found = marks(text, self._grammar)
        start = bare_start(text, 0) if _BARE in self._hidden else None
        bare = [] if start is None else [Mark(_BARE, start, start)]
        return sorted(found + bare, key=lambda mark: mark.start)

    def _half(self, end: str) -> bool:
        begun = "".join(end.split())
        return bool(begun) and any(mark.startswith(begun) for mark in self._beginnings)

    def _visible(self, text: str) -> str:
        return text if self._until is None else ""


class MarkedThoughts:
    """The thoughts in a streamed reply whose text outside of the marks of a family's thoughts may be the answer."""

    def __init__(self) -> None:
        self._text, self._shown = "", ""
        self._at: int | None = None  # where what is to be shown next begins; None: no thought has begun

    def feed(self, piece: str) -> str:
        """The text to show now; what may become the end mark is held back until it is clear."""
        before, self._text = len(self._text), self._text + piece
        if self._at is None:
            opened = thought_opens().search(self._text, max(0, before - 32))  # no mark is longer
            if not opened:
                return ""
            self._at = opened.end()
        closed = thought_closes().search(self._text, self._at)
        end = closed.start() if closed else undecided(self._text, self._at)
        shown = self._text[self._at : max(self._at, end)]
        self._at = max(self._at, end)
        self._shown += shown
        return shown

    def rest(self, think: str) -> str:
        shown = self._shown.strip()
        return think.replace(shown, "", 1) if shown in think else ""
