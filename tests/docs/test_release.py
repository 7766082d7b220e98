"""What a release says of itself: one version everywhere, and notes that a user can read."""

import re
import tomllib

import yaml
from code_blocks import ROOT

NOTES = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
HEADINGS = re.findall(r"^## (.+)$", NOTES, re.MULTILINE)
NEWEST = NOTES.split("\n## ")[2]


def test_package_citation_notes_and_page_name_one_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    shown = re.findall(
        r"\bgit (?:tag|push origin) v(\d[\w.]*)", (ROOT / ".github" / "RELEASING.md").read_text(encoding="utf-8")
    )
    assert {PROJECT["version"], str(cited["version"]), HEADINGS[1], *shown} == {PROJECT["version"]}
    assert cited["license"] == PROJECT["license"]
    assert cited["authors"] == PROJECT["authors"]


def test_unreleased_changes_are_above_releases_newest_first() -> None:
    versions = [[*map(int, name.split("."))] for name in HEADINGS[1:]]
    assert HEADINGS[0] == "Unreleased"
    assert versions == sorted(versions, reverse=True)


def test_notes_of_newest_release_fit_sixty_lines_breaking_first() -> None:
    assert len(NEWEST.splitlines()) <= 60
    assert NEWEST.split("\n### ")[1].startswith("Breaking\n")
