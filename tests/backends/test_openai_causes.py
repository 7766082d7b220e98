"""Proxies, headers and keys: errors name what to change, and never show a secret."""

from pathlib import Path

import pytest
from asks import ANSWER
from PIL import Image
from support.called import virc
from support.loopback import Connection, Loopback
from support.servers import MODELS, Exchange, dead_url, serve

from virc.backends.chat.backend import OpenAIBackend
from virc.core.errors import ConfigError, NetworkError

SECRET = "s3cr3t-of-azure-1234"


@pytest.mark.parametrize("set_for", ["http_proxy", "all_proxy"])
@pytest.mark.usefixtures("no_proxies")
def test_a_dead_proxy_is_named_without_its_password(set_for: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = dead_url().removesuffix("/v1").removeprefix("http://")
    monkeypatch.setenv(set_for, f"http://someone:{SECRET}@{place}")
    with pytest.raises(NetworkError) as raised:
        OpenAIBackend("http://models.example/v1", max_retries=0)
    assert f"through the proxy {place}" in raised.value.message
    assert "no_proxy=models.example" in str(raised.value.hint)
    assert SECRET not in f"{raised.value.message} {raised.value.hint}"


class Azure(Connection):
    """A gateway of Azure, which takes the key in a header of its own, and quotes it where it is wrong."""

    def get(self) -> None:
        key = self.headers["api-key"]
        if key == SECRET:
            found: object = {"data": [{"id": "gpt", "object": "model"}]}
        else:
            found = {"statusCode": 401, "message": f"Access denied due to invalid subscription key {key}."}
        self.send_json(found, 200 if key == SECRET else 401)

    post = get


def test_headers_of_ones_own_are_sent_and_never_printed() -> None:
    server = Loopback(Azure)
    with server.running():
        url = f"{server.address}/v1"
        assert OpenAIBackend(url, headers=f"api-key: {SECRET}\nX-Trace: on").model == "gpt"
        with pytest.raises(ConfigError) as without:
            OpenAIBackend(url, max_retries=0)
        with pytest.raises(ConfigError) as wrong:
            OpenAIBackend(url, headers=f"api-key: not-{SECRET}", max_retries=0)
    assert "VIRC_HEADERS=" in str(without.value.hint)
    assert SECRET not in f"{wrong.value.message} {wrong.value.hint}"


@pytest.mark.parametrize("scheme", ["", "Basic "])
def test_every_word_of_a_header_is_hidden(scheme: str) -> None:
    words = ["first-Word-81", "second-Word-92", "third-Word-03"]
    server = Loopback(Azure)
    with server.running(), pytest.raises(ConfigError) as raised:
        OpenAIBackend(f"{server.address}/v1", headers=f"api-key: {scheme}{' '.join(words)}", max_retries=0)
    assert "invalid subscription key" in raised.value.message
    assert [word for word in words if word in f"{raised.value.message} {raised.value.hint}"] == []


def test_a_key_in_the_query_is_hidden_and_the_version_is_shown() -> None:
    def quoting(exchange: Exchange) -> None:
        exchange.send_json({"error": {"message": f"no such route: {exchange.path}"}}, 403)

    query = f"?key={SECRET}&api-version=2024-10-21"
    with serve(fault=quoting, fault_on=f"{MODELS}{query}") as server, pytest.raises(ConfigError) as raised:
        OpenAIBackend(f"{server.url}{query}", max_retries=0)
    assert "no such route: /v1/models?key=***&api-version=2024-10-21" in raised.value.message
    assert SECRET not in f"{raised.value.message} {raised.value.hint}"


@pytest.mark.parametrize("line", [SECRET, f"api-key: {SECRET}\x07"])
def test_a_line_that_is_no_header_is_not_quoted(line: str) -> None:
    with pytest.raises(ConfigError, match="VIRC_HEADERS") as raised:
        OpenAIBackend("http://127.0.0.1:9/v1", headers=line)
    assert SECRET not in f"{raised.value.message} {raised.value.hint}"


def test_headers_of_the_environment_reach_every_request_of_solve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIRC_CONFIG", str(tmp_path / "config.yaml"))
    monkeypatch.setenv("VIRC_HEADERS", f"Ocp-Apim-Subscription-Key: {SECRET}\nAuthorization: Basic {SECRET}")
    Image.new("RGB", (112, 84)).save(tmp_path / "a.png")
    with serve([ANSWER]) as server:
        done = virc("solve", "--endpoint", server.url, "--protocol", "default", tmp_path / "a.png", "How large?")
        assert (done.code, done.out) == (0, "97\n"), done.err
        sent = [(each.headers["ocp-apim-subscription-key"], each.headers["authorization"]) for each in server.requests]
    assert set(sent) == {(SECRET, f"Basic {SECRET}")}
    shown = virc("config", "show")
    assert "headers" in shown.out
    assert SECRET not in shown.out + shown.err
