"""What the real client raises becomes one sentence and what to do."""

import ssl
from collections.abc import Iterator

import pytest
from hub_server import Hub, Repo, hub, status

from virc.core.errors import ConfigError, NetworkError
from virc.core.http.library import http_library
from virc.download.hub import listing as listing_module
from virc.download.hub.listing import listing
from virc.download.hub.refusals import PassingError, reason, unreachable
from virc.download.hub.repository import Repo as Wanted

MODEL = "LeonMiao/ViRC-3B"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub({MODEL: Repo({"config.json": b"{}"})}) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        yield running


def test_a_certificate_that_is_not_trusted_is_no_passing_fault() -> None:
    error = OSError("wrapped")
    error.__cause__ = ssl.SSLCertVerificationError(1, "certificate verify failed")
    assert type(unreachable(error, Wanted(MODEL))) is NetworkError
    assert type(unreachable(OSError("wrapped"), Wanted(MODEL))) is PassingError


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "ftp://127.0.0.1"])
def test_a_proxy_that_cannot_be_used_is_a_setting_to_correct(
    server: Hub, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(ConfigError, match="proxy"):
        listing(Wanted(MODEL))


@pytest.mark.usefixtures("no_proxies")
def test_why_there_was_no_answer_is_said_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    http = http_library()
    for error, why in (
        (http.ReadTimeout("of http://u:secret@h"), "timed out"),
        (OSError(111, "Connection refused"), "connection refused"),
        (http.RemoteProtocolError("peer closed connection without secret"), "the connection broke"),
        (http.RemoteProtocolError("secret"), "no proper answer (RemoteProtocolError)"),
    ):  # fmt: skip
        assert reason(error) == why
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@proxy:3128")
    error = unreachable(OSError(111, "Connection refused"), Wanted("o/n", "dataset", "github"))
    assert error.message.startswith("cannot reach api.github.com by the proxy ")
    assert (error.message.endswith(": connection refused"), "secret" in error.message) == (True, False)
    assert error.hint == "HTTPS_PROXY names the proxy: mend or unset it"


@pytest.mark.parametrize(("asked", "least", "most"), [("8", 8.0, 8.0), ("0", 0.375, 0.5), (None, 0.375, 0.5)])
def test_the_hub_is_asked_again_no_sooner_than_it_asks_for(
    server: Hub, asked: str | None, least: float, most: float, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "FIRST_WAIT", 0.5)
    server.misbehave(status(503, **({"retry_after": asked} if asked else {})), on="api")
    assert listing(Wanted(MODEL)).repo == Wanted(MODEL)
    (pause,) = pauses
    assert least <= pause <= most
