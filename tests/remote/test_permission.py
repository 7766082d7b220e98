"""A remote tool's file sends variables of the environment only after the user has allowed it."""

import shlex
from pathlib import Path

import pytest
from PIL import Image
from remote_server import Reply, Sent, in_json, serving
from support.called import virc

from virc.core.errors import ConfigError
from virc.reasoning.calls import Call
from virc.remote import tool
from virc.remote.permission import allow

PICTURE = Image.new("RGB", (56, 56))
CALL = Call("spot", 0, arguments={"query": "cat"})


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "settings" / "config.yaml"))
    monkeypatch.setenv("SPOT_KEY", "s3cret")


def write_tool(folder: Path, url: str, variable: str = "SPOT_KEY", more: str = "") -> Path:
    file = folder / "spot.yaml"
    file.write_text(
        "description: Find it.\n"
        "parameters: {type: object, properties: {query: {type: string}, image_index: {type: integer}}}\n"
        f"http: {{url: '{url}', headers: {{X-Value: '${{{variable}}}'}}}}\n{more}"
    )
    return file


def test_nothing_reaches_the_server_before_the_file_is_allowed(tmp_path: Path) -> None:
    pytest.importorskip("virc_extras")  # virc tools check
    sent: list[Sent] = []

    def answer(request: Sent) -> Reply:
        sent.append(request)
        return in_json("here")

    with serving(answer) as server:
        file = write_tool(tmp_path, server.address)
        with pytest.raises(ConfigError, match=r"would send SPOT_KEY to 127\.0\.0\.1:\d+, which you have not"):
            tool.read_tool(file).apply(CALL, PICTURE)
        checked = virc("tools", "check", file)
        assert (checked.code, "hint: virc tools allow" in checked.err) == (3, True), checked.err
        assert not sent
        assert virc("tools", "allow", file, "--yes", "--secret", "SPOT_KEY").code == 0
        assert tool.read_tool(file).apply(CALL, PICTURE).text == "here"
        assert [request.headers["X-Value"] for request in sent] == ["s3cret"]
        write_tool(tmp_path, server.address, more="seconds: 3\n")
        with pytest.raises(ConfigError, match="which you have not allowed"):
            tool.read_tool(file).ready()
    assert len(sent) == 1


@pytest.mark.parametrize("variable", ["SPOT_KEY", "HF_TOKEN", "VIRC_API_KEY", "XAI_API_KEY", "DATABASE_URL"])
def test_each_variable_has_to_be_named(tmp_path: Path, variable: str) -> None:
    file = write_tool(tmp_path, "https://tools.example.org/spot", variable)
    done = virc("tools", "allow", file, "--yes", "--secret", "OTHER_KEY")
    assert done.code == 3
    assert f"would send {variable} to tools.example.org: name what it may have" in done.err
    with pytest.raises(ConfigError):
        tool.read_tool(file).permission.check()
    assert virc("tools", "allow", file, "--yes", "--secret", variable).code == 0
    tool.read_tool(file).permission.check()


def test_without_a_terminal_nothing_is_allowed_unless_yes_is_given(tmp_path: Path) -> None:
    file = write_tool(tmp_path, "https://tools.example.org/spot")
    done = virc("tools", "allow", file, "--secret", "SPOT_KEY")
    assert (done.code, "hint: --yes" in done.err) == (2, True)


def test_a_variable_allows_files_by_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_tool(tmp_path, "https://tools.example.org/spot")
    digest = virc("tools", "allow", file, "--yes", "--secret", "SPOT_KEY", "--json").json["digest"]
    (tmp_path / "settings" / "allowed_tools.json").unlink()
    with pytest.raises(ConfigError):
        tool.read_tool(file).permission.check()
    monkeypatch.setenv("VIRC_ALLOWED_TOOLS", digest)
    tool.read_tool(file).permission.check()


@pytest.mark.parametrize(
    ("server", "to"),
    [
        (
            "mcp: {tool: t, command: [detector, 'two words'], env: {A: '${SPOT_KEY}', B: 'x ${OTHER}'}}",
            "detector 'two words'",
        ),
        (
            "mcp: {tool: t, url: 'https://m.example.org/mcp', headers: {A: '${SPOT_KEY}', B: '${OTHER}'}}",
            "m.example.org",
        ),
        ("http: {url: 'https://h.example.org:8443/x?k=1', headers: {A: '${OTHER} ${SPOT_KEY}'}}", "h.example.org:8443"),
    ],
)
def test_all_variables_that_a_file_sends_are_asked_for(tmp_path: Path, server: str, to: str) -> None:
    (file := tmp_path / "spot.yaml").write_text(f"description: Find it.\nparameters: {{type: object}}\n{server}\n")
    found = tool.read_tool(file).permission
    assert (found.secrets, found.to) == (("OTHER", "SPOT_KEY"), to)
    with pytest.raises(ConfigError, match=r"spot\.yaml would send OTHER, SPOT_KEY to "):
        found.check()
    with pytest.raises(ConfigError, match=r"spot\.yaml would send OTHER to .*: name what it may have") as refused:
        allow(found, ["SPOT_KEY"])
    allowing = f"virc tools allow {shlex.quote(str(file))} --secret OTHER --secret SPOT_KEY"
    assert refused.value.hint == allowing
