"""Clips as the core shows them: frames at their times."""

from collections.abc import Callable
from pathlib import Path

from virc.core.extras import require
from virc.core.text import counted
from virc.reasoning.media import MediaChoice
from virc_extras.video.kinds import clip_format
from virc_extras.video.limits import check_file
from virc_extras.video.parts import MediaParts
from virc_extras.video.sampling import MOST, clock, clock_up
from virc_extras.video.worker import READER, Facts, Picture, Wish

KIND = "clip"
CHOICES = ("at", "fps", "frames")


def recognises(head: bytes) -> bool:
    """Whether a file is a clip of a format that is read."""
    return clip_format(head) is not None


def check_ready(name: str) -> None:
    """Raise SetupError if the package is missing that reads the file of that name."""
    require("av", f"reading the clip {name}", "video")


def parts(source: bytes | Path, name: str, choice: MediaChoice, check: Callable[[], None]) -> MediaParts:
    """The frames of a clip: at the times of `choice`, or one a second, 32 at most."""
    check_ready(name)
    check_file(source, name)
    wish = Wish(choice.at or None, fps=choice.fps, frames=choice.frames)
    facts, shown = READER.pictures(KIND, source, name, wish, check)
    width, height = facts.size
    summary = f"{name} lasts {clock_up(facts.length)} at {width} x {height} px: {counted(len(shown), 'frame')} shown"
    is_thinned = choice == MediaChoice(choice.pages) and facts.length > MOST
    return MediaParts(shown, summary + "; «--frames N» shows more" * is_thinned, facts)


def called(frame: Picture, number: int, facts: Facts) -> str:
    """What a frame is called, which is the one shown as that number."""
    return f"frame {number} at {clock(frame.seconds or 0)}"
