"""One question to a server of the suite."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from server import Player, Scene, play
from support.called import Done, virc
from wires import Json

QUESTION = "Which number stands in the coloured place?"


@dataclass(frozen=True)
class Asked:
    """What came of it: what virc printed, and the requests for chats."""

    done: Done
    chats: list[Json] = field(default_factory=list)
    answered: list[Json] = field(default_factory=list)
    refused: list[Json] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def turns(self) -> list[Json]:
        """The answered requests of the conversation: without the one that finds out how boxes are counted."""
        about_boxes = [body for body in self.answered if "the red rectangle exactly" in str(body["messages"])]
        assert len(about_boxes) <= 1
        return [body for body in self.answered if body not in about_boxes]

    @property
    def errors(self) -> str:
        """All of stderr as one line."""
        return re.sub(r"\s+", " ", self.done.err)

    @property
    def is_right(self) -> bool:
        """Whether the answer alone is on stdout, after one look at the right place."""
        return self.done.code == 0 and self.done.out == "73\n" and not self.faults


def ask(scene: Scene, picture: Path, *words: object) -> Asked:
    """Ask a scene's model with `virc solve`."""
    with play(scene) as server:
        return told(server, picture, *words)


def told(server: Player, picture: Path, *words: object) -> Asked:
    """Ask the model of a running server."""
    done = virc("solve", "--endpoint", server.url, *words, picture, QUESTION)
    return Asked(done, server.chats, server.answered, server.refused, server.faults)
