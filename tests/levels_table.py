"""The table of families in `docs/servers/README.md`, as it follows from their files."""

import re
from pathlib import Path

from field_table import table

from virc.families import registry as families

PAGE = Path(__file__).resolve().parents[1] / "docs" / "servers" / "README.md"
HEAD = {"server": "server", "here": "here", "gguf": "GGUF", "sft": "SFT, preferences", "rl": "RL"}
"""Level -> what its column is called."""
FACTS = ("family", "models", "boxes")
_PLACE = re.compile(r"(?<=<!-- families -->\n).*?(?=<!-- end -->)", re.DOTALL)
_UNITS = {"thousand": "thousandths", "pixel": "pixels", "unit": "shares", None: "unknown"}


def types(family: families.Family, level: str) -> list[str]:
    """The model types of a family that can be used so."""
    return [kind for kind in family.model_types if families.levels(family, kind)[level]]


def rows() -> list[tuple[str, ...]]:
    """The rows, those of most levels first."""
    found = sorted(families.discover().values(), key=lambda each: -sum(bool(types(each, level)) for level in HEAD))
    return [(f"`{each.name}`", each.about, _boxes(each), *(_cell(each, level) for level in HEAD)) for each in found]


def _boxes(family: families.Family) -> str:
    return _UNITS[family.coordinates] + (", top first" if family.box == "corners_yx" else "")


def _cell(family: families.Family, level: str) -> str:
    found = types(family, level)
    return "yes" if len(found) == len(family.model_types) else ", ".join(f"`{kind}`" for kind in found)


def page() -> str:
    """The page with the table as it should be."""
    made = re.sub(r"\| ( |--- )(?=\|)", lambda found: f"|{found[1].strip()}", table((*FACTS, *HEAD.values()), rows()))
    return _PLACE.sub(lambda _: made, PAGE.read_text(encoding="utf-8"))
