"""`docs/zoo.md` and `NOTICE`: whose texts the published systems refer to, as follows from their files."""

import re
from collections.abc import Iterator
from pathlib import Path

from field_table import table
from support import zoo

from virc.systems import published, texts
from virc.systems import registry as systems

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


def sources() -> Iterator[tuple[str, str, str, str, int]]:
    """Yield system, repository, commit, license and number of texts of each source."""
    for name, _ in zoo.files("system.yaml"):
        folder = systems.get(name).file.parent
        if found := texts.of(folder):
            for source, each in found.sources.items():
                count = sum(found.source_of(text) == source for text in found.texts.values())
                yield name, source, each.commit, each.license or "none stated", count


def rows() -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table."""
    field = published.rows()
    referred = [*sources()]
    for name, source, commit, license_, count in referred:
        yield name, _paper(name), f"[{source}]({_url(source)}) `{commit[:7]}`", license_, str(count)
    named = {name for name, *_ in referred}
    for name, _ in zoo.files("system.yaml"):
        if name not in named:
            repo = field[name].repo if name in field else None
            yield name, _paper(name), f"[{repo}](https://github.com/{repo})" if repo else "-", "-", "our own words"


def _url(source: str) -> str:
    name = source.removeprefix("hf:")
    return f"https://huggingface.co/{name}" if name != source else f"https://github.com/{source}"


def _paper(name: str) -> str:
    """The paper that figures of a system are from."""
    reported = systems.get(name).reported
    found = re.search(r"arXiv:(\S+)", reported.source) if reported else None
    return f"[arXiv:{found[1]}](https://arxiv.org/abs/{found[1]})" if found else "-"


def page() -> str:
    """The page with the table as it should be."""
    made = table(("system", "paper", "repository", "license", "texts fetched"), rows())
    return _PLACE.sub(lambda _: made, PAGE.read_text(encoding="utf-8"))


def notice() -> str:
    """The content of `NOTICE`."""
    lines = {f"  {_url(source)} at {commit[:12]} ({license_})\n": None for _, source, commit, license_, _ in sources()}
    return _HEAD + "".join(lines)
