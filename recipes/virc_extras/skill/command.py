"""`virc skill`: what an agent of a programmer reads to use virc."""

from pathlib import Path
from typing import Annotated

from virc.core.files import write_whole, writing
from virc_cli.console import output
from virc_cli.console.options import option

SKILL = Path(__file__).with_name("SKILL.md")


def command(
    to: Annotated[Path | None, option("DIR", "Write virc/SKILL.md here, such as .claude/skills.")] = None,
) -> None:
    """Print how an agent uses virc (a skill).

    It is in the format of Agent Skills, which coding agents read from their folder of skills.
    """
    if to is None:
        output.lines(SKILL.read_text(encoding="utf-8").splitlines())
        return
    file = to / "virc" / SKILL.name
    with writing(file, "virc skill --to FOLDER"):
        write_whole(file, SKILL.read_bytes())
    output.line(str(file))
