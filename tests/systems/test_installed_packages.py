"""Systems, tools and rewards of an installed package are found by its entry points."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOL = '''"""A view turned around."""

from PIL import Image, ImageOps

from virc.reasoning.calls import Call, Checked, View

from .names import TOOL

NAME = TOOL
SCHEMA = {"type": "function", "function": {"name": NAME, "description": "Mirror an image.", "parameters": {
    "type": "object", "properties": {"image_index": {"type": "integer"}}, "required": ["image_index"]}}}
TEMPLATE = "after_image"


def check(arguments: dict, view: View) -> Checked:
    return Checked(Call(NAME, 0, {}), ())


def apply(call: Call, source: Image.Image) -> Image.Image:
    return ImageOps.mirror(source)
'''
REWARD = '''"""More for shorter replies."""

TERMS = ("short",)


def short(sample, means):
    """1 of an empty reply, and less the longer it is."""
    return 1 / (1 + len(sample.text))


def total(t):
    return t.short
'''
SYSTEM = "name: mirrored\nabout: for tests\ntools: [mirror]\nreward: {total: brevity}\n"
FIELD = "name: narrow\nrow: 100\ntitle: Narrow\nabout: for tests\nstages: none\n"
ENTRIES = """[virc.systems]
mirrors = mirror_pack

[virc.tools]
mirror = mirror_pack.mirror

[virc.rewards]
brevity = mirror_pack.brevity
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder like site-packages, with the package installed into it."""
    package, info = tmp_path / "site" / "mirror_pack", tmp_path / "site" / "mirror_pack-1.0.dist-info"
    for folder in (package, info):
        folder.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "names.py").write_text('TOOL = "mirror"\n')
    (package / "mirror.py").write_text(TOOL)
    (package / "brevity.py").write_text(REWARD)
    (package / "mirrored.yaml").write_text(SYSTEM)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mirror-pack\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return package.parent


def run(site: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (site, ROOT, ROOT / "recipes")))}
    return subprocess.run([sys.executable, *words], env=env, cwd=site, capture_output=True, text=True)


@pytest.mark.integration
def test_a_system_of_a_package_is_listed_and_fits(site: Path) -> None:
    listed = run(site, "-m", "virc_cli", "systems", "ls", "--json")
    rows = {row["name"]: row for row in json.loads(listed.stdout)["systems"]}
    assert rows["mirrored"]["from"] == str(site / "mirror_pack" / "mirrored.yaml")
    checked = run(site, "-m", "virc_cli", "systems", "check", "mirror_pack/mirrored.yaml")
    assert checked.returncode == 0, checked.stderr


def test_a_tool_and_a_reward_are_imported_as_parts_of_their_package(site: Path) -> None:
    code = (
        "from virc.rewards import registry as rewards; from virc.systems import registry as systems\n"
        "from virc.tools import registry as tools\n"
        "system = systems.get('mirrored')\n"
        "print(tools.load(system.offered), tools.get('mirror').__name__)\n"
        "print(rewards.of(system.reward).name, [term.name for term in rewards.of(system.reward).terms])\n"
    )
    done = run(site, "-c", code)
    assert done.stdout.splitlines() == ["['mirror'] mirror_pack.mirror", "brevity ['short']"], done.stderr


def test_nothing_of_a_package_is_imported_before_it_is_named(site: Path) -> None:
    (site / "mirror_pack" / "mirror.py").write_text("raise RuntimeError('imported')\n")
    code = (
        "import sys; from virc.systems import registry as systems; systems.get('tiny')\n"
        "print('mirror_pack.mirror' in sys.modules)"
    )
    assert run(site, "-c", code).stdout.strip() == "False"
    done = run(site, "-c", "from virc.tools import registry as tools; tools.load(['mirror'])")
    assert "mirror.py cannot be loaded: RuntimeError: imported" in done.stderr


def test_a_folder_of_a_package_is_a_system_with_its_total(site: Path) -> None:
    folder = site / "mirror_pack" / "narrow"
    folder.mkdir()
    (folder / "system.yaml").write_text(SYSTEM.replace("mirrored", "narrow").replace("brevity", "shortness"))
    (folder / "shortness.py").write_text(REWARD)
    (folder / "field.yaml").write_text(FIELD)
    code = (
        "from virc.rewards import registry as rewards; from virc.systems import published, registry as systems\n"
        "total = rewards.find('shortness')\n"
        "print(systems.get('narrow').file.parent == total.file.parent, total.total.__module__)\n"
        "print(published.rows()['narrow'].title)\n"
    )
    done = run(site, "-c", code)
    assert done.stdout.splitlines() == ["True mirror_pack.narrow.shortness", "Narrow"], done.stderr


def test_a_module_that_is_not_there_names_its_package_and_no_more(site: Path) -> None:
    info = site / "mirror_pack-1.0.dist-info" / "entry_points.txt"
    info.write_text("[virc.systems]\nmirrors = mirror_pack.gone\n")
    for name, code in (("tiny", 0), ("mirrored", 3)):
        done = run(site, "-m", "virc_cli", "systems", "show", name)
        assert done.returncode == code
        assert "the installed package mirror-pack names mirror_pack.gone, which cannot be found" in done.stderr
