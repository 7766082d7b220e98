"""The table of `docs/extras/make.md`, as the docstrings of the operators say."""

from pathlib import Path

from virc_extras.make import registry

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extras" / "make.md"
_START, _END = "<!-- operators -->\n", "<!-- end -->"


def page() -> str:
    """The page with its table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(_START)
    rows = [
        (
            f"`{each.name}`",
            each.title.replace("|", "&#124;"),
            ", ".join(f"`{name}`" for name in registry.described(each)),
        )
        for each in map(registry.get, registry.names())
    ]
    table = [("operator", "what it does", "options"), ("---",) * 3, *rows]
    lines = "".join(f"|{'|'.join(f' {cell} ' if cell != '---' else cell for cell in row)}|\n" for row in table)
    return before + _START + lines + rest[rest.index(_END) :]
