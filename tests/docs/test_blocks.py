"""What the pages say exists: commands, options, links, rooms; and every code block is tested or says why not."""

import ast
import inspect
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import reference_page
from code_blocks import PAGES, ROOT, Block, blocks, commands, inline

import virc
from virc.stages import rl, sft

MARKS = {"file", "output", "own server", "dry run", "run by", "install", "test", "not run", "checked-data"}
RUNNABLE = {"sh", "python"}
OTHERS = {"--torch-backend", "--jinja", "--image-max-tokens", "--mmproj", "--reasoning-parser", "--tool-call-parser"}
OTHERS |= {"--served-model-name", "--max-model-len", "--help", "--install-completion", "--version"}
"""Options of other programs that the pages name alone."""

ALL = [block for page in PAGES for block in blocks(page)]


def known(words: list[str]) -> str | None:
    """What is wrong with a call of virc; None: nothing."""
    node: Any = APP
    while hasattr(node, "commands"):
        if words and words[0] in node.commands:
            node, words = node.commands[words[0]], words[1:]
        elif "get" in node.commands:  # virc download NAME
            node = node.commands["get"]
        elif words and not words[0].startswith("-"):
            return f"no command {words[0]!r}"
        else:
            break
    options = {name for each in node.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
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


@pytest.mark.parametrize("block", [each for each in ALL if each.language == "sh"], ids=lambda block: block.place)
def test_commands_and_options_of_a_block_exist(block: Block) -> None:
    for words in commands(block.text):
        assert known(words) is None, f"{block.place}: virc {' '.join(words)}: {known(words)}"


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_options_in_a_text_exist(page: str) -> None:
    for line, span in inline(page):
        if span.startswith("virc "):
            for words in commands(span.replace(" ...", "")):
                assert known(words) is None, f"{page}:{line}: `{span}`: {known(words)}"
        elif re.match(r"--[a-z]", span):
            for word in re.findall(r"(?<!\S)--[a-z][a-z-]*", span):
                assert word in EVERY, f"{page}:{line}: no command has {word}"


@pytest.mark.parametrize("block", [each for each in ALL if each.language == "python"], ids=lambda block: block.place)
def test_calls_of_the_api_have_arguments_that_exist(block: Block) -> None:
    for call in (node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call)):
        if ast.unparse(call.func).startswith("virc."):
            function = getattr(virc, ast.unparse(call.func).removeprefix("virc."))
            inspect.signature(function).bind(*call.args, **{each.arg: each.value for each in call.keywords if each.arg})


@pytest.mark.parametrize("page", PAGES)
def test_settings_in_a_page_exist(page: str) -> None:
    settings = {*sft.Config.__struct_fields__, *rl.Config.__struct_fields__}
    lines = [line for line in (ROOT / page).read_text(encoding="utf-8").splitlines() if "--set " in line]
    named = re.findall(r"(?:--set '?|`)([a-z_]+)[.\w]*=", "\n".join(lines))
    assert set(named) - settings == set()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_something(page: str) -> None:
    folder = (ROOT / page).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (folder / path) if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(file), f"{page}: {target}"


def anchors(file: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short_and_shows_a_trace() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert "docs/pictures/trace.png" in "\n".join(lines[:10])
    assert (ROOT / "docs" / "pictures" / "trace.png").stat().st_size < 200_000


def test_the_readme_links_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in PAGES:
        assert page == "README.md" or f"({page})" in readme, page


def rooms() -> list[str]:
    """The rooms of the package, lowest first, as the contract of the imports orders them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = (each["layers"] for each in contracts if each.get("containers") == ["virc"])
    return list(reversed(layers))


def test_the_readme_lists_every_room_in_order() -> None:
    (tree,) = (block.text for block in blocks("README.md") if block.text.startswith("recipes/virc/"))
    assert re.findall(r"^  (\w+) ", tree, re.MULTILINE) == rooms()


def test_contributing_has_a_row_for_each_room() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text[text.index("## Where to change what") : text.index("## Add something")]
    assert re.findall(r"^\|.*?\| `recipes/virc/(\w+)/`", table, re.MULTILINE) == rooms()
    for path in re.findall(r"`((?:recipes|virc_cli|tests)/[\w/.]+)`", text):
        if "NAME" not in path:
            assert (ROOT / path).exists(), path


def test_the_reference_lists_every_variable() -> None:
    sources = (*ROOT.glob("recipes/virc/**/*.py"), *ROOT.glob("virc_cli/**/*.py"))
    named = {name for file in sources for name in re.findall(r'"(VIRC_[A-Z_]+)"', file.read_text(encoding="utf-8"))}
    assert named - set(reference_page.VARIABLES) - reference_page.INTERNAL == set()
