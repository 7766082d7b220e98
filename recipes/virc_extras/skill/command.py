"""`virc skill`: what an agent of a programmer reads to use virc."""

import hashlib
import re
from pathlib import Path
from typing import Annotated

from virc.core.errors import UsageError
from virc.core.files import write_whole, writing
from virc_cli.console import output
from virc_cli.console.options import option

SKILL = Path(__file__).with_name("SKILL.md")
_SIGNED = "\n<!-- written by virc skill; of what stands above: {} -->\n"


def command(
    to: Annotated[Path | None, option("DIR", "Write virc/SKILL.md here, such as .claude/skills.")] = None,
) -> None:
    """Print how an agent uses virc (a skill).

    It is in the format of Agent Skills, which coding agents read from their folder of skills.
    """
    text = _signed(SKILL.read_text(encoding="utf-8"))
    if to is None:
        output.lines(text.splitlines())
        return
    file = to / "virc" / SKILL.name
    with writing(file, "virc skill --to FOLDER"):
        if file.is_file() and _is_edited(file.read_text(encoding="utf-8", errors="replace")):
            raise UsageError(f"{file} was edited, and is not written over", f"mv {file} {file}.mine")
        write_whole(file, text.encode())
    output.line(str(file))


def _signed(text: str) -> str:
    return text + _SIGNED.format(hashlib.sha256(text.encode()).hexdigest()[:16])


def _is_edited(text: str) -> bool:
    """Whether a file differs from what any version of this command wrote."""
    written = re.sub(r"\n<!--[^\n]*-->\n\Z", "", text)
    return _signed(written) != text
