"""Files next to a user's module: which are copied with it, and what is said of others that it opens."""

from pathlib import Path

import pytest
from support.tables import each_case

from virc.core import module_files, plugins
from virc.core.errors import ConfigError

FILES = (
    "words.txt",
    "lists/en.txt",
    "lists/de.txt",
    "kit/__init__.py",
    "kit/text.py",
    "single.py",
    "deep/one/two.json",
)
NAMED = {
    "a string": ('open(HERE / "words.txt")', {"words.txt"}),
    "a path in a string": ('open(HERE / "deep/one/two.json")', {"deep/one/two.json"}),
    "a folder and a file": ('open(os.path.join(HERE, "lists", "en.txt"))', {"lists/en.txt"}),
    "a module": ("import single", {"single.py", "words.txt"}),
    "within a function": ("def f():\n    from single import WORDS", {"single.py", "words.txt"}),
    "a package": ("from kit.text import upper", {"kit/__init__.py", "kit/text.py", "lists/de.txt"}),
    "a module of a package": ("from kit import text", {"kit/__init__.py", "kit/text.py", "lists/de.txt"}),
    "nothing that is there": ('open("gone.txt"), open(""), open("a\\0b"), open("lists")', set()),
    "what is outside": ('open("../outside.txt")', set()),
    "no Python": ("def", set()),
}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    (folder / "single.py").write_text('from pathlib import Path\nWORDS = Path(__file__).with_name("words.txt")\n')
    (folder / "kit/text.py").write_text('NAMES = ["lists", "de.txt"]\n')
    (tmp_path / "outside.txt").write_text("")
    return folder


@each_case(("code", "expected"), NAMED.values())
def test_files_that_a_module_names_are_beside_it(code: str, expected: set[str], own: Path) -> None:
    (own / "mine.py").write_text(code)
    assert module_files.needed_files(own / "mine.py") == {name: own / name for name in expected}


OPENED = {
    "named": ('(HERE / "words.txt").read_text()', None),
    "by a name that is made": ('(HERE / ("word" + "s.txt")).read_text()', "by a name that is no string in it: a run's"),
    "from the current folder": ('open("words.txt").read()', "in the folder where virc was started, and a run may"),
    "outside": ('(HERE.parent / "outside.txt").read_text()', "outside of its folder: a run's copy comes without"),
    "by a library": ('json.load(open(HERE / ("wo" + "rds.txt")))', "by a name that is no string in it"),
    "gone again": ('(HERE.parent / "gone.txt").write_text("1")', None),
    "of Python": ("Path(json.__file__).read_text()", None),
    "of virc": ("import virc\nPath(virc.__file__).with_name('py.typed').read_text()", None),
}


@each_case(("code", "expected"), OPENED.values())
def test_what_a_copy_would_not_find_is_said(
    code: str, expected: str | None, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module_files, "_OPENED", {})
    monkeypatch.setattr("sys.dont_write_bytecode", True)  # the file changes within a second
    monkeypatch.chdir(own)
    (own / "words.txt").write_text("{}")
    file = own / "mine.py"
    file.write_text(f"import json\nfrom pathlib import Path\nHERE = Path(__file__).parent\n{code}\n")
    plugins.fresh(file)
    said: list[str] = []
    module_files.warn_not_copied(lambda message, hint: said.append(message))
    assert len(said) == (expected is not None)
    assert all(each.startswith("mine.py opens ") and str(expected) in each for each in said)


def test_two_modules_of_one_name_are_not_mixed(tmp_path: Path) -> None:
    for name, value in (("one", 1), ("two", 2), ("three", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mixed_helper.py").write_text(f"VALUE = {value}\n")
        (tmp_path / name / "mine.py").write_text("from mixed_helper import VALUE\n")
    assert plugins.fresh(tmp_path / "one" / "mine.py").VALUE == 1
    with pytest.raises(ConfigError, match=r"mixed_helper\.py, which is loaded, have one name"):
        plugins.fresh(tmp_path / "two" / "mine.py")
    assert plugins.fresh(tmp_path / "three" / "mine.py").VALUE == 1  # a copy
