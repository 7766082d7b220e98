"""`docs/zoo.md` and `NOTICE`: whose texts the published systems refer to, as follows from their files."""

import re
from collections.abc import Iterator
from pathlib import Path

from field_table import table
from support import zoo

from virc.systems import registry as systems
from virc.systems import texts

ROOT = Path(__file__).resolve().parents[1]
PAGE, NOTICE = ROOT / "docs" / "zoo.md", ROOT / "NOTICE"
_PLACE = re.compile(r"(?<=<!-- sources -->\n).*?(?=<!-- end -->)", re.DOTALL)
_HEAD = """\
virc
Copyright The virc maintainers

Licensed under the Apache License, Version 2.0; see LICENSE.

Published systems are described by facts: names, numbers, digests. Texts that their authors wrote are not part of
this work; they are fetched from these repositories by whoever runs a system, under the license stated there:

"""


def sources() -> Iterator[tuple[str, str, str, str]]:
    """Yield system, repository, commit and license of each source."""
    for name, _ in zoo.files("system.yaml"):
        if found := texts.of(systems.get(name).file.parent):
            for source, each in found.sources.items():
                yield name, source, each.commit, each.license or "none stated"


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table."""
    for name, source, commit, license_ in sources():
        yield _paper(name), f"[{source}]({_url(source)}) `{commit[:7]}`", license_


def in_our_words() -> str:
    """The systems that refer to no text of others."""
    referred = {name for name, *_ in sources()}
    return ", ".join(_paper(name) for name, _ in zoo.files("system.yaml") if name not in referred)


def _url(source: str) -> str:
    name = source.removeprefix("hf:")
    return f"https://huggingface.co/{name}" if name != source else f"https://github.com/{source}"


def _paper(name: str) -> str:
    """The name of a system, which leads to the paper that its figures are from, else to that of its comments."""
    system = systems.get(name)
    places = (system.reported.source if system.reported else "", system.file.read_text(encoding="utf-8"))
    found = next(filter(None, (re.search(r"arXiv:(\d[\w.]*\w)", each) for each in places)), None)
    return f"[{name}](https://arxiv.org/abs/{found[1]})" if found else name


def page() -> str:
    """The page with the table as it should be."""
    made = (
        table(("system, with its paper", "repository", "license"), rows()) + f"\nIn our own words: {in_our_words()}.\n"
    )
    return _PLACE.sub(lambda _: made, PAGE.read_text(encoding="utf-8"))


def notice() -> str:
    """The content of `NOTICE`."""
    lines = {f"  {_url(source)} at {commit[:12]} ({license_})\n": None for _, source, commit, license_ in sources()}
    return _HEAD + "".join(lines)
