"""Keys: no other program, host, output or file gets them."""

import http.client
import resource
from contextlib import suppress
from pathlib import Path

import pytest
from support import faults, host, secrets, servers
from support.called import virc
from support.loopback import free_port
from support.solving import answer, call, ended, picture

KEY = secrets.KEYS["VIRC_API_KEY"]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{other}/v1/chat/completions", "//127.0.0.1:{other}/v1", "http://localhost:{own}/v1/chat/completions",
        "https://127.0.0.1:{own}/v1", "http://127.0.0.1:{own}@127.0.0.1:{other}/v1", "http://user@127.0.0.1:{own}/v1",
        "\\\\127.0.0.1:{other}\\v1", "/\\127.0.0.1:{other}/v1", "http:/127.0.0.1:{other}/v1",
        "http:127.0.0.1:{other}/v1",
        "http://127.0.0.1:{own}.localhost:{other}/v1", "http://[::ffff:127.0.0.1]:{other}/v1", "\thttp://127.0.0.1:{other}/v1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [servers.CHAT, servers.MODELS])
def test_a_redirect_takes_the_key_to_no_other_host(tmp_path: Path, location: str, path: str) -> None:
    with servers.serve([answer("7")]) as other:
        with servers.serve([answer("7")]) as server:
            places = {"own": server.address[17:], "other": other.address[17:]}
            server.script.fault = faults.status(307, headers={"Location": location.format(**places)})
            server.script.fault_on = path
            done = virc("solve", picture(tmp_path / "a.png"), "?", "--endpoint", server.url)
            assert all(request.headers["host"] == server.address[7:] for request in server.requests)
            assert any(request.headers["authorization"] == f"Bearer {KEY}" for request in server.requests)
        assert done.code in (3, 6), done
        assert other.accepted == 0


def command_lines() -> str:
    """Those of all programs below this one, which each user of this machine can read."""
    found = b""
    for pid in host.descendants():
        with suppress(OSError):
            found += Path(f"/proc/{pid}/cmdline").read_bytes()
    return found.decode("utf-8", "replace")


@pytest.mark.integration
def test_no_command_line_output_or_trace_shows_a_key(home: host.Home, tmp_path: Path) -> None:
    """Also where the server says it back, in its answer and then in an error."""
    seen: list[str] = []

    def turn(body: servers.Body) -> str:
        seen.append(command_lines())
        return [call("python", code="import os; print(os.environ)"), answer("7")][servers.turn_of(body)]

    image = picture(tmp_path / "a.png")
    with servers.serve(turn) as server:
        words = ("solve", image, "?", "--endpoint", server.url, "--verbose", "--json")
        assert home.run(*words, "--tools", "+python", "--trace", tmp_path / "trace").json["answer"] == "7"
        server.script.fault = faults.status(401, f"{KEY} is no key of ours: Bearer {KEY}")
        done = ended(home.start(*words, VIRC_DEBUG="1"))  # with its traceback
        assert (done.code, "is no key of ours" in done.err, secrets.shown(done.out + done.err)) == (3, True, []), done
    assert "bwrap" in seen[1]
    assert not secrets.shown("".join(seen))
    assert (tmp_path / "trace" / "index.html").exists()
    assert secrets.files_with_keys(tmp_path) == []


def core_sizes() -> set[str]:
    """The largest core files that the programs below this one may leave."""
    found = set()
    for pid in host.descendants():
        with suppress(OSError):
            found.add(Path(f"/proc/{pid}/limits").read_text().partition("Max core file size")[2].split()[0])
    return found


@pytest.mark.integration
@pytest.mark.parametrize(("variables", "some"), [({}, False), ({"VIRC_DEBUG": "1"}, True)])
def test_no_program_that_has_a_key_leaves_a_core_file(
    home: host.Home, tmp_path: Path, variables: dict[str, str], some: bool
) -> None:
    seen: list[set[str]] = []

    def turn(body: servers.Body) -> str:
        seen.append(core_sizes())
        return answer("7")

    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        with servers.serve(turn) as server:
            words = ("solve", picture(tmp_path / "a.png"), "?", "--endpoint", server.url)
            assert home.run(*words, **variables).out == "7\n"
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    assert (seen[0] != {"0"}) == (some and before[1] != 0)


@pytest.mark.integration
def test_a_server_has_its_key_from_a_variable_or_a_file_of_its_owner(home: host.Home, tmp_path: Path) -> None:
    file, port = tmp_path / "key", free_port()
    file.touch(mode=0o600)
    file.write_text("open-sesame\n")
    with servers.serve([answer("7")]) as behind:
        words = (
            "serve",
            "--agent",
            "--endpoint",
            behind.url,
            "--name",
            "m",
            "--port",
            port,
            "--api-key",
            f"file:{file}",
        )
        process = home.start(*words)
        try:
            assert process.stdout
            process.stdout.readline()
            assert "open-sesame" not in command_lines()
            statuses = []
            for key in ("open-sesame", "open-sesam", str(file), KEY):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
                connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
                statuses.append(connection.getresponse().status)
                connection.close()
            assert statuses == [200, 401, 401, 401]
            assert {request.headers["authorization"] for request in behind.requests} == {f"Bearer {KEY}"}
        finally:
            process.terminate()
            done = host.told(process)
    assert "open-sesame" not in done.out + done.err
    file.chmod(0o640)
    assert home.run(*words).code == 3
