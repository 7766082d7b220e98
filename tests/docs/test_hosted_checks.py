"""What hosted machines run: every job calls the scripts of .ci, and releases need no stored key."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from code_blocks import PAGES, ROOT, blocks

sys.path.insert(0, str(ROOT / ".ci"))
from as_published import installed

WORKFLOWS = {file.stem: yaml.safe_load(file.read_text()) for file in sorted((ROOT / ".github/workflows").glob("*.yml"))}
JOBS = [(name, key, job) for name, workflow in WORKFLOWS.items() for key, job in workflow["jobs"].items()]
COMMANDS = [step["run"] for _, _, job in JOBS for step in job["steps"] if "run" in step]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PART = re.compile(r"^(?:once )?(?:part|suite) ([\w-]+) ", re.MULTILINE)
GATE, FULL = ({*PART.findall((ROOT / ".ci" / name).read_text(encoding="utf-8"))} for name in ("run", "full"))


def lines(kind: str) -> list[str]:
    return re.findall(rf"bash \.ci/{kind} (.+)", "\n".join(COMMANDS))


def test_jobs_name_parts_that_exist_and_all_of_them() -> None:
    matrix = WORKFLOWS["nightly"]["jobs"]["suite"]["strategy"]["matrix"]["parts"]
    assert set(" ".join(lines("run")).split()) | {"environment"} == GATE
    assert set(" ".join([*lines("full"), *matrix]).split()) - {"$PARTS"} | {"environment"} == FULL


def test_publishing_needs_attestations_and_no_secret() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    assert text.count("uses: actions/attest@") == 2
    assert "secrets." not in text


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What a build reads beside the packages, with a `uv` that makes an sdist of README.md, and no wheel."""
    shutil.copytree(ROOT / ".ci", tmp_path / ".ci")
    for name in ("README.md", "CHANGELOG.md", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    notes = re.sub(
        r"## Unreleased\n.*?(?=## )", "## Unreleased\n\n", (ROOT / "CHANGELOG.md").read_text(), flags=re.DOTALL
    )
    (tmp_path / "CHANGELOG.md").write_text(notes)
    (tmp_path / "uv").write_text(
        f"""#!/bin/sh
case "$*" in
*--sdist*) mkdir "$5/virc-{VERSION}" && cp pyproject.toml "$5/virc-{VERSION}" && echo old >"$5/virc-{VERSION}/README.md"
  tar -czf "$5/virc-{VERSION}.tar.gz" -C "$5" virc-{VERSION} ;;
*) mkdir "$4" && cp "$2/README.md" "$2/pyproject.toml" "$4" ;;
esac
"""
    )
    (tmp_path / "uv").chmod(0o755)
    return tmp_path


def build(clone: Path, *tag: str, url: str = "https://host/virc") -> subprocess.CompletedProcess[str]:
    env = {"PATH": f"{clone}:{Path(sys.executable).parent}:{os.environ['PATH']}", "REPOSITORY_URL": url}
    return subprocess.run(["bash", clone / ".ci/build", clone / "out", *tag], env=env, capture_output=True, text=True)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("tag", "line", "instead", "error"),
    [
        ("v9.9.9", "", "", f"the tag is v9.9.9, the version of pyproject.toml is {VERSION}"),
        (f"v{VERSION}", f"## {VERSION}\n", "## 0.0.9\n", f"CHANGELOG.md has no notes of {VERSION}"),
        (
            f"v{VERSION}", "## Unreleased\n", "## Unreleased\n\n- New.\n",
            f"CHANGELOG.md lists changes as unreleased: move them to the section {VERSION}, and tag that commit",
        ),
    ],
)  # fmt: skip
def test_a_tag_without_notes_of_its_own_builds_nothing(
    tag: str, line: str, instead: str, error: str, clone: Path
) -> None:
    notes = clone / "CHANGELOG.md"
    notes.write_text(notes.read_text().replace(line, instead, 1))
    done = build(clone, tag)
    assert (done.returncode, done.stderr, [*(clone / "out").iterdir()]) == (1, f"build: {error}\n", [])


@pytest.mark.integration
def test_notes_of_a_release_are_its_section_with_links_to_its_tag(clone: Path) -> None:
    assert build(clone, f"v{VERSION}").stderr == ""
    notes = (clone / "out/notes.md").read_text()
    section = (clone / "CHANGELOG.md").read_text().split(f"## {VERSION}\n")[1].split("\n## ")[0]
    assert re.sub(rf"https://host/virc/blob/v{VERSION}/", "", notes).strip() == section.strip()
    assert f"](https://host/virc/blob/v{VERSION}/docs/clients.md)" in notes


@pytest.mark.integration
@pytest.mark.parametrize("url", ["https://host/virc", ""])
def test_the_page_of_the_index_has_no_relative_link_and_needs_no_clone(url: str, clone: Path) -> None:
    assert build(clone, url=url).stderr == ""
    page = (clone / "out/dist/README.md").read_text()
    assert [target for target in re.findall(r"\]\(([^)]+)\)", page) if not target.startswith("https://")] == []
    assert (f"(https://host/virc/raw/v{VERSION}/docs/pictures/trace.png)" in page) == bool(url)
    assert "pip install 'virc[llamacpp]'" in page
    assert [line for line in page.splitlines() if re.search(r"'\.\[|install \.|\bclone\b|\btests/|pytest", line)] == []
    assert (clone / "README.md").read_text() == (ROOT / "README.md").read_text()


@pytest.mark.integration
@pytest.mark.parametrize("url", ["https://host/virc", ""])
def test_the_index_links_the_repository_that_built_the_package(url: str, clone: Path) -> None:
    assert build(clone, url=url).stderr == ""
    project = tomllib.loads((clone / "out/dist/pyproject.toml").read_text())["project"]
    assert project.pop("urls", {}).get("Issues", "") == (url and f"{url}/issues")
    assert project == tomllib.loads((clone / "pyproject.toml").read_text())["project"]


def test_no_message_names_a_page_that_a_package_lacks() -> None:
    named, page = [], re.compile(r"docs/[\w-]+\.md")
    for file in (each for folder in ("virc_cli", "recipes/virc") for each in sorted((ROOT / folder).rglob("*.py"))):
        if not page.search(text := file.read_text(encoding="utf-8")):
            continue
        tree = ast.parse(text)
        statements = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        texts = [each for each in ast.walk(tree) if isinstance(each, ast.Constant) and id(each) not in statements]
        named += [f"{file}:{each.lineno}" for each in texts if page.search(str(each.value))]
    assert named == []


def test_pages_of_the_site_install_from_the_index_and_name_no_file_of_the_tests() -> None:
    for page in (page for page in PAGES if page.startswith("docs/")):
        shown = installed((ROOT / page).read_text(encoding="utf-8"))
        assert re.findall(r"'\.\[.*|pip install \.[\s`].*|pip install -e .*", shown) == [], page
        commands = "".join(block.text for block in blocks(page) if block.language == "sh")
        assert "tests/" not in commands or "in a clone" in shown, page
