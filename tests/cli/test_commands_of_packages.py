"""Commands that installed packages add: `virc --help` lists them unimported, and they end as ours do."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docs.code_blocks import blocks
from PIL import Image
from support import called
from support.entry import ROOT
from support.servers import serve
from support.solving import answer, call
from support.tables import cases_of

CASES = cases_of(__file__)

POINTS = """[virc.commands]
looks = my_package.looks
data.looks = my_package.looks
solve = my_package.looks
runs.rm = my_package.looks
gone = my_package.gone
broken = my_package.broken
"""


DAMAGED = {
    "mistyped": b"def command(:\n",
    "zero": b'def command() -> None:\n    """Zero."""\n\0',
    "latin": b'"""\xe9."""\n',
}
"""Modules that cannot be loaded."""
LEFT_OUT = ("../../x", "data.x.y.z", "caf\xe9")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `virc solve --trace` writes of a model that crops twice."""
    folder = tmp_path_factory.mktemp("solved")
    Image.new("RGB", (112, 84)).save(folder / "figure.png")
    crop = call("crop_image", bbox_2d=[0, 0, 56, 56], image_index=0)
    with serve([crop, crop, answer("7")]) as server:
        words = ("figure.png", "How many?", "--trace", folder / "trace", "--endpoint", server.url)
        done = called.virc("solve", folder / words[0], *words[1:])
    assert done.code == 0, done.err
    return folder / "trace"


@pytest.fixture
def site(tmp_path: Path, trace: Path) -> Path:
    """A folder like site-packages with the package that docs/rewards-and-tools.md shows; importing it is noted."""
    package, info = tmp_path / "my_package", tmp_path / "my_package-1.dist-info"
    package.mkdir()
    info.mkdir()
    (package / "__init__.py").write_text("open('imported', 'w').close()\n")
    shown = next(each.text for each in blocks("docs/rewards-and-tools.md") if "Count the calls of a tool" in each.text)
    (package / "looks.py").write_text(shown)
    (package / "broken.py").write_text('"""Never works."""\n1 / 0\n')
    (info / "entry_points.txt").write_text(POINTS)
    (tmp_path / "trace").symlink_to(trace)
    return tmp_path


def virc(site: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (site, ROOT, ROOT / "recipes"))), **env}
    return subprocess.run([sys.executable, "-m", "virc_cli", *words], env=env, cwd=site, capture_output=True, text=True)


@pytest.mark.integration
def test_help_and_completion_list_a_command_and_import_nothing_of_it(site: Path) -> None:
    listed = virc(site, "--help").stdout.splitlines()
    assert "  looks     Count the calls of a tool in a trace." in listed
    assert "  broken    Never works." in listed
    assert "  gone      Cannot be loaded: there is no module my_package.gone." in listed
    completed = virc(site, _VIRC_COMPLETE="complete_bash", COMP_WORDS="virc loo", COMP_CWORD="1")
    assert completed.stdout.split() == ["looks"]
    assert not (site / "imported").exists()


@pytest.mark.integration
@pytest.mark.parametrize(("words", "code", "out", "err"), CASES["a_command_of_a_package_ends_as_ours_do"])
def test_a_command_of_a_package_ends_as_ours_do(site: Path, words: list[str], code: int, out: str, err: str) -> None:
    done = virc(site, *words)
    assert (done.returncode, done.stdout, done.stderr) == (code, out, err)


@pytest.mark.integration
def test_no_package_takes_the_place_of_our_command(site: Path) -> None:
    warned = [line for line in virc(site, "--help").stderr.splitlines() if line.startswith("warning: ")]
    sentence = "of the installed package my-package is left out, as virc has one of that name"
    assert warned == [f"warning: the command {name} {sentence}" for name in ("solve", "runs.rm")]
    assert "Answer a question about a picture, a clip or a document." in virc(site, "solve", "--help").stdout


@pytest.mark.integration
def test_damage_in_a_package_breaks_nothing_else(site: Path) -> None:
    (info := site / "harm-1.dist-info").mkdir()
    (site / "shut-1.dist-info" / "entry_points.txt").mkdir(parents=True)  # which cannot be read, as without a right
    entries = [f"{name} = my_package.{name}" for name in DAMAGED] + [f"{name} = my_package.looks" for name in LEFT_OUT]
    text = "\n".join(["[virc.commands]", "looks.none = my_package.looks", *entries, "[virc.tools]", "spin = ../gone"])
    (info / "entry_points.txt").write_bytes(text.encode("latin-1"))
    for name, code in DAMAGED.items():
        (site / "my_package" / f"{name}.py").write_bytes(code)
    helped = virc(site, "--help")
    assert helped.returncode == 0, helped.stderr
    listed = {name: what for name, _, what in (line[2:].partition(" ") for line in helped.stdout.splitlines())}
    assert "Count the calls" in listed["looks"]
    assert [name for name in DAMAGED if "Cannot be loaded: SyntaxError: " not in listed[name]] == []
    why = "its name is not NAME or GROUP.NAME"
    warned = [f"the command {name} of the installed package harm is left out: {why}" for name in LEFT_OUT]
    warned += ["the entry points of the installed package shut are left out: is a directory"]
    said = helped.stderr.replace("\ufffd", "\xe9").splitlines()
    assert [each for each in warned if f"warning: {each}" not in said] == []
    completed = virc(site, _VIRC_COMPLETE="complete_bash", COMP_WORDS="virc loo", COMP_CWORD="1")
    assert (completed.returncode, completed.stdout.split(), completed.stderr) == (0, ["looks"], "")
    for words in (["data", "--help"], ["looks", "trace"]):
        assert ((done := virc(site, *words)).returncode, done.stderr) == (0, "")
    tools = virc(site, "tools", "ls")
    assert (tools.returncode, tools.stderr.count("the installed package harm names ../gone")) == (0, 1), tools.stderr
    for words in ([name] for name in DAMAGED):
        assert (done := virc(site, *words)).returncode == 3
        assert f"the command {words[0]} of the installed package harm cannot be loaded: SyntaxError: " in done.stderr
    for words in (["../../x"], ["data", "x.y.z"]):
        assert (done := virc(site, *words)).returncode == 3
        assert f"the command {'.'.join(words)} of the installed package harm cannot be loaded: {why}\n" in done.stderr
