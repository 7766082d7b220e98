"""What the pages say exists: commands, options, links, rooms; and every code block is tested or says why not."""

import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
import reference_page
import yaml as pyyaml
from code_blocks import PAGES, ROOT, TRIED, blocks, commands, inline

import virc
from virc.core.entry_points import entries
from virc.stages import rl, sft

whole = pytest.mark.skipif(not find_spec("virc_extras"), reason="pages name commands and files of extras")

MARKS = {"file", "output", "own server", "dry run", "run by", "install", "test", "not run", "checked-data"}
RUNNABLE = {"sh", "python"}
OTHERS = {"--torch-backend", "--jinja", "--image-max-tokens", "--mmproj", "--reasoning-parser", "--tool-call-parser"}
OTHERS |= {"--served-model-name", "--max-model-len", "--help", "--install-completion", "--version", "--own-words"}
"""Options of other programs that the pages name alone."""

ALL = [block for page in TRIED for block in blocks(page)]
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in (*TRIED, "AGENTS.md")}


def known(words: list[str]) -> str | None:
    """What is wrong with a call of virc; None: nothing."""
    node: Any = APP
    while hasattr(node, "commands"):
        if words and words[0] in node.commands:
            node, words = node.commands[words[0]], words[1:]
        elif words and not find_spec("virc_extras") and any(words[0] in name for name in entries("virc.commands")):
            return None
        elif default := getattr(node, "default", None):  # virc download NAME
            node = node.commands[default]
        elif words and not words[0].startswith("-"):
            return f"no command {words[0]!r}"
        else:
            break
    options = {name for each in node.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "--own-words"}
    for word in words:
        if word == "--":
            break
        if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options:
            return f"no option {word}"
    return None


APP = reference_page.app()
PARAMETERS = [each for _, command in reference_page.leaves(APP) for each in command.params]
EVERY = OTHERS | {name for each in PARAMETERS for name in each.opts}


def test_every_block_is_tested_or_says_why_not() -> None:
    for block in ALL:
        assert set(block.marks) <= MARKS, f"{block.place}: unknown mark"
        assert block.language in RUNNABLE or block.marks, f"{block.place}: no test runs this; mark it"
        for name in ("not run", "dry run", "run by", "file"):
            assert block.marks.get(name, "why"), f"{block.place}: {name}: says nothing"
        said = block.marks.get("run by", "") + block.marks.get("not run", "")
        for path in re.findall(r"tests/[\w/.]+|\.ci/run", said):
            assert (ROOT / path).exists(), f"{block.place}: {path}"


def test_commands_and_options_of_each_block_exist() -> None:
    for block in (each for each in ALL if each.language == "sh"):
        for words in commands(block.text):
            assert known(words) is None, f"{block.place}: virc {' '.join(words)}: {known(words)}"


@whole
def test_commands_and_options_in_each_text_exist() -> None:
    for page, line, span in ((name, *found) for name in TEXTS for found in inline(name)):
        if span.startswith("virc "):
            for words in commands(span.replace(" ...", "")):
                assert known(words) is None, f"{page}:{line}: `{span}`: {known(words)}"
        elif re.match(r"--[a-z]", span):
            for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", span):
                assert word in EVERY, f"{page}:{line}: no command has {word}"


def test_calls_of_the_api_have_arguments_that_exist() -> None:
    for block in (each for each in ALL if each.language == "python"):
        for call in (node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).startswith("virc."):
                function = getattr(virc, ast.unparse(call.func).removeprefix("virc."))
                named = {each.arg: each.value for each in call.keywords if each.arg}
                inspect.signature(function).bind(*call.args, **named)


def _options_of_operators() -> Iterator[type[msgspec.Struct]]:
    if find_spec("virc_extras"):
        from virc_extras.make import registry

        yield from (registry.get(name).options for name in registry.names())


def test_settings_in_each_page_exist() -> None:
    structs = (sft.Config, rl.Config, *_options_of_operators())
    for page, text in TEXTS.items():
        own = re.findall(r"^    (\w+): .* = ", text, re.MULTILINE)  # options of an operator that the page writes
        settings = {"seed", *own, *(name for struct in structs for name in struct.__struct_fields__)}
        lines = [line for line in text.splitlines() if "--set " in line]
        named = re.findall(r"(?:--set '?|`)([a-z_]+)[.\w]*=", "\n".join(lines))
        assert set(named) - settings == set(), page


def test_links_lead_to_something() -> None:
    for page, text in TEXTS.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("http://", "https://")):
                continue
            path, _, anchor = target.partition("#")
            file = (ROOT / page).parent / path if path else ROOT / page
            assert file.exists(), f"{page}: {target}"
            assert not anchor or anchor in anchors(file), f"{page}: {target}"


@whole
def test_tests_scripts_and_paths_that_pages_name_exist() -> None:
    package, rooms_of_package = ROOT / "recipes" / "virc", "|".join(rooms())
    for page, text in TEXTS.items():
        named = re.findall(r"(?:tests|\.ci)/[\w./-]*\w", text)
        if page in ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/testing.md"):
            named += re.findall(rf"`((?:recipes|virc_cli|tests|{rooms_of_package})/[\w/.]+)`", text)
        lost = [name for name in named if not (ROOT / name).exists() and not (package / name).exists()]
        assert [name for name in lost if "NAME" not in name and "COMMAND" not in name] == [], page


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short_and_shows_a_trace() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert "docs/pictures/trace.png" in "\n".join(lines[:10])
    assert (ROOT / "docs" / "pictures" / "trace.png").stat().st_size < 200_000


def test_the_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        if not re.fullmatch(r"README\.md|docs/decisions/\d.+", page):
            assert f"({page})" in readme, page


def test_the_list_of_decisions_links_each() -> None:
    listed = re.findall(r"\((\d[^)]+)\)", (ROOT / "docs/decisions/README.md").read_text(encoding="utf-8"))
    assert listed == sorted(file.name for file in (ROOT / "docs/decisions").glob("[0-9]*.md"))


def test_the_site_leads_to_every_page_once() -> None:
    named = re.findall(r"\s([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = ["index.md" if page == "README.md" else page.removeprefix("docs/") for page in (*PAGES, "CHANGELOG.md")]
    of_extras = [] if find_spec("virc_extras") else [page for page in named if page.startswith("extras/")]
    assert sorted(named) == sorted(pages + of_extras)


def clicks(entries: list[Any], made: int = 1) -> dict[str, int]:
    """The clicks to each page of the navigation: each section is one, and its own page, an index, is no further."""
    found: dict[str, int] = {}
    for entry in entries:
        for place in entry.values() if isinstance(entry, dict) else [entry]:
            if isinstance(place, list):
                found |= clicks(place, made + 1)
            else:
                found[place] = made - isinstance(entry, str)
    return found


def test_each_task_of_the_readme_is_two_clicks_away_on_the_site() -> None:
    nav = pyyaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2])
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## I want to ...")[2].partition("\n## ")[0]
    pages = {page.removeprefix("docs/") for page in re.findall(r"\]\(([\w/.-]+\.md)", table)}
    assert len(pages) > 20
    assert {page: made for page, made in clicks(nav).items() if page in pages and made > 2} == {}


def rooms() -> list[str]:
    """The rooms of the package, lowest first, as the contract of the imports orders them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["virc"])
    return list(reversed(layers))


def test_the_architecture_has_a_row_for_each_room_in_order() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == rooms()


def test_the_picture_of_the_pages_is_that_of_the_tests() -> None:
    pictures = ROOT / "docs/pictures/figure.png", ROOT / "tests/pictures/triangle.png"
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_the_readme_says_what_each_extra_is_for() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    rows = re.search(r"\| extra \| for \|\n(.*?)\n\n", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert rows
    listed = re.findall(r"`(\w+)`", "\n".join(row.split("|")[1] for row in rows[1].splitlines()))
    assert {*listed} == extras.keys() - {"dev", "docs"}


def test_contributing_is_one_page() -> None:
    assert len((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()) <= 65


def test_the_reference_lists_every_variable() -> None:
    sources = (*ROOT.glob("recipes/virc/**/*.py"), *ROOT.glob("virc_cli/**/*.py"))
    named = {name for file in sources for name in re.findall(r'"(VIRC_[A-Z_]+)"', file.read_text(encoding="utf-8"))}
    assert named - reference_page.VARIABLES.keys() - reference_page.INTERNAL.keys() == set()
