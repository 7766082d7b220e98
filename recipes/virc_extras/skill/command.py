"""`virc skill`: what an agent of a programmer reads to use virc."""

from pathlib import Path
from typing import Annotated

from virc.core.errors import VircError
from virc.core.files import write_whole
from virc.core.text import clause
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
    try:
        write_whole(file, SKILL.read_bytes())
    except OSError as error:
        raise VircError(f"cannot write {file}: {clause(error)}", "virc skill --to FOLDER") from error
    output.line(str(file))
