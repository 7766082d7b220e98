"""Each page of docs/ opens with what the reader can do after it, then a command."""

import re
from itertools import pairwise

from code_blocks import PAGES, ROOT, blocks

TERMS = ("System", "Chat protocol", "Stage", "Row", "Trace", "Reward term")
OPENING = [page for page in PAGES if page.startswith("docs/") and not page.startswith("docs/decisions/")]


def opening(page: str) -> tuple[str, int]:
    """The first paragraph below the title, and the line of the second heading."""
    text = (ROOT / page).read_text(encoding="utf-8")
    lines, inside = text.splitlines(), False
    for number, line in enumerate(lines, 1):
        inside ^= line.startswith("```")
        if number > 1 and not inside and re.match(r"#+ ", line):
            return text.split("\n\n")[1], number
    return text.split("\n\n")[1], len(lines)


def test_a_page_opens_with_what_its_reader_can_do_then_a_command() -> None:
    for page in OPENING:
        first, heading = opening(page)
        assert re.match(r"After this page you (can|know) ", first), page
        before = [block for block in blocks(page) if block.line < heading]
        assert before, f"{page}: no command before the second heading"
        assert before[0].language == "sh", page


def test_each_term_is_explained_in_concepts_and_linked_elsewhere() -> None:
    concepts = (ROOT / "docs" / "concepts.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", concepts, re.MULTILINE)
    assert headings == list(TERMS)
    others = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES if page != "docs/concepts.md")
    for term in TERMS:
        assert f"concepts.md#{term.lower().replace(' ', '-')})" in others, term


def test_what_differs_from_published_programs_is_at_the_end_of_its_page() -> None:
    for page in OPENING:
        headings = re.findall(r"^## (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
        for one, _ in pairwise(headings):
            assert not re.search(r"differs from the published|as published$|Faults of ", one), f"{page}: {one}"
