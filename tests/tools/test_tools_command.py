"""`virc tools ls`: files of one's own are listed, and none is run."""

from pathlib import Path

from remote.remote_server import DETECT
from support.called import virc
from tools.test_own_tools import ROTATE

REMOTE = "description: Ask.\nparameters: {type: object}\nseconds: -1\nhttp: {url: http://a}\n"


def test_ls_finds_files_of_tools_and_checks_none(own: Path) -> None:
    for name, text in (("far.yaml", REMOTE), ("gone.py", "raise SystemExit"), ("mine.yaml", "name: mine\n")):
        (own / name).write_text(text)
    (own / "idle.py").write_text(ROTATE.replace("rotate_image", "idle").partition("def apply")[0])
    listed = virc("tools", "ls", "--json").json["tools"]
    assert [each["name"] for each in listed if each["kind"] == "Python file"] == ["idle", "rotate_image"]


def test_ls_says_the_first_sentence_of_a_tool_whole(own: Path) -> None:
    about = "`rotate_image`: turn an image\nby v. 2 of the rule. It keeps\nits size.\n\nMore."
    (own / "rotate_image.py").write_text(f'"""{about}"""\n{ROTATE.partition(chr(10))[2]}')
    listed = {each["name"]: each["about"] for each in virc("tools", "ls", "--json").json["tools"]}
    assert listed["rotate_image"] == "turn an image by v. 2 of the rule."
    assert [name for name, about in listed.items() if not about.endswith(".")] == []


def test_ls_finds_tools_beside_a_system(tmp_path: Path) -> None:
    (tmp_path / "rotate_image.py").write_text(ROTATE)
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    named = virc("tools", "ls", "--system", tmp_path / "mine.yaml", "--json").json["tools"]
    assert named[-1]["name"] == "rotate_image"


def test_ls_says_that_a_tool_is_behind_mcp(own: Path) -> None:
    head = DETECT.partition("http:")[0].format()
    (own / "detect.yaml").write_text(f"{head}mcp: {{tool: detect, command: [none]}}\n")
    kinds = {each["name"]: each["kind"] for each in virc("tools", "ls", "--json").json["tools"]}
    assert kinds["detect"] == "MCP"


def test_what_a_listed_tool_prints_is_not_printed(own: Path) -> None:
    (own / "noisy.py").write_text("print('noise')\n" + ROTATE.replace("rotate_image", "noisy"))
    done = virc("tools", "ls", "--json")
    assert "noise" not in done.out.replace("noisy", "")
