"""Why the hub gives nothing, as a sentence and what to do: from its answers, and from errors of its client."""

import os
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from virc.core.errors import ConfigError, NetworkError, VircError
from virc.core.http.client import proxy_of
from virc.core.http.waiting import seconds_asked
from virc.core.text import clause, counted, plain
from virc.download.hub.origin import home
from virc.download.hub.repository import Repo, endpoint

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Codes that another try may not meet."""
AGAIN = "run the same command to resume"
MAX_WAIT = 300.0
"""Seconds; a server that asks for more is not waited for."""
_LOGIN = "`hf auth login`"

_HINTS = {
    400: "mend what it names",
    402: "its account needs another plan, or less storage",
    409: f"somebody else changes the repository: {AGAIN}",
    412: f"somebody else changes the repository: {AGAIN}",
    413: "a file or the card is too large for it: split the rows, or make shards that are smaller",
    422: "mend what it names",
    507: "its storage is full: delete files or old commits there",
}
"""What to do by the status of an answer that another try does not change."""


class PassingError(NetworkError):
    """A refusal that another try may not meet, after the seconds that the server asks to wait, if it does."""

    broken = True

    def __init__(self, message: str, hint: str | None = None, wait: float | None = None) -> None:
        super().__init__(message, hint)
        self.wait = wait


def unreachable(error: Exception, repo: Repo) -> NetworkError:
    """What to say where an address of a repository's host gives no answer: the proxy may be to blame, and is named."""
    kind = NetworkError if isinstance(cause(error), ssl.SSLCertVerificationError) else PassingError
    proxy_set = proxy_of(home(repo))
    if proxy_set is None:
        return kind(f"cannot reach {host(repo)}: {reason(error)}", _mend(repo) or AGAIN)
    scheme, proxy = proxy_set
    hint = f"{scheme.upper()}_PROXY names the proxy: mend or unset it"
    return kind(f"cannot reach {host(repo)} by the proxy {proxy}: {reason(error)}", hint)


def cause(error: BaseException) -> BaseException:
    """The error of the system that the client wrapped; where there is none, the error itself."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner
        inner = inner.__cause__ or inner.__context__
    return error


def reason(error: Exception) -> str:
    """Why there was no answer. What else is wrong with HTTP names addresses or headers, and those are secrets."""
    inner, kind = cause(error), type(error).__name__
    if isinstance(inner, OSError):
        return clause(inner)
    if "Timeout" in kind:
        return "timed out"
    return "the connection broke" if "closed connection" in str(error) else f"no proper answer ({kind})"


def by_status(
    status: int, headers: Mapping[str, str], repo: Repo, revision: str | None = None, said: str = ""
) -> VircError:
    """What an answer means that is no success; its headers are found whatever their case, `said` is in its body."""
    if repo.host != "hub":
        return github_refusal(status, headers, repo, revision) or _otherwise(status, headers, repo)
    said = said or plain(headers.get("X-Error-Message") or "")
    reason = f": {said}" if said else ""
    error: VircError
    match headers.get("X-Error-Code"), status:
        case "GatedRepo", _:
            error = _gated(status, repo)
        case "RevisionNotFound", _:
            sentence = f"{repo.id} has no revision {plain(repr(revision or 'main'), 100)}"
            error = ConfigError(sentence, f"its commits: {repo.url}/commits/main")
        case "EntryNotFound", _:
            error = ConfigError(f"{repo.id} has no such file", f"its files: {repo.url}/tree/main")
        case _, 401 if said.lower().startswith("invalid credentials"):
            error = ConfigError(f"{host(repo)} refuses the token", f"{_LOGIN}, or mend HF_TOKEN")
        case ("RepoNotFound", _) | (_, 401 | 404):
            error = _no_repo(repo)
        case _, 403:
            sentence = f"{host(repo)} forbids to read {repo.id}{reason}"
            error = ConfigError(sentence, f"{_LOGIN} with an account that may read it")
        case _:
            error = _otherwise(status, headers, repo, reason)
    return error


def _otherwise(status: int, headers: Mapping[str, str], repo: Repo, reason: str = "") -> NetworkError:
    if status not in PASSING:
        return NetworkError(f"{host(repo)} answers {status}{reason}", _HINTS.get(status) or _mend(repo))
    wait, is_busy = seconds_asked(headers, reason), status == 429
    sentence = f"{host(repo)} answers {status}{': too many requests' if is_busy else ''}{reason}"
    if wait is not None and wait > MAX_WAIT:
        return NetworkError(sentence, f"it asks to wait {wait / 60:.0f} minutes; then {AGAIN}")
    return PassingError(sentence, f"wait{_more_requests(repo)}; {AGAIN}" if is_busy else AGAIN, wait)


def _more_requests(repo: Repo) -> str:
    """What lets a user ask more often, as a clause."""
    from huggingface_hub import get_token

    if repo.host != "hub":
        return ", or set GITHUB_TOKEN"
    return "" if get_token() else f", or {_LOGIN}"


def check_endpoint() -> None:
    try:
        parts = urlsplit(endpoint())
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigError(f"HF_ENDPOINT is not an http(s) address: {plain(endpoint(), 100)}", "unset HF_ENDPOINT")


def host(repo: Repo) -> str:
    """Who is asked for a repository, for sentences: host and port, never a password."""
    return plain(urlsplit(home(repo)).netloc.rpartition("@")[2], 100)


def _gated(status: int, repo: Repo) -> ConfigError:
    if status == 401:
        hint = f"accept its terms at {repo.url}, then {_LOGIN}"
        return ConfigError(f"{repo.id} is gated: it is for users who are logged in", hint)
    hint = f"accept its terms at {repo.url} with the account of your token"
    return ConfigError(f"{repo.id} is gated, and your account is not on its list", hint)


def _no_repo(repo: Repo) -> ConfigError:
    """The hub says the same of a repository that is private, so that nobody learns of it."""
    at = f" (HF_ENDPOINT is {host(repo)})" if os.environ.get("HF_ENDPOINT") else ""
    sentence = f"the hub has no {repo.kind} {plain(repo.id, 100)}, or it is private{at}"
    other = f", say datasets/{plain(repo.id, 100)} for a dataset" if repo.kind == "model" else ""
    return ConfigError(sentence, f"mend the name{other}, or {_LOGIN} with an account that may read it")


def _mend(repo: Repo) -> str | None:
    is_named = repo.host == "hub" and os.environ.get("HF_ENDPOINT")
    return "HF_ENDPOINT names it: mend or unset it" if is_named else None


def github_refusal(status: int, headers: Mapping[str, str], repo: Repo, revision: str | None) -> VircError | None:
    """What an answer of GitHub means that is no success; None: nothing of its own.

    It says the same of a repository that is private and of one that is not there.
    """
    if status == 401:
        return ConfigError("GitHub refuses the token", "mend or unset GITHUB_TOKEN")
    if status in (403, 429) and headers.get("X-RateLimit-Remaining") == "0":
        minutes = max(1, round((seconds_asked(headers) or 0) / 60))
        more = "wait, or set GITHUB_TOKEN, with which it allows more"
        return NetworkError(f"GitHub answers no more requests for the next {counted(minutes, 'minute')}", more)
    if status in (404, 409, 422):
        at = f" with the commit, branch or file {plain(repr(revision), 100)}" if revision else ""
        return ConfigError(f"there is no {repo.name}{at}, or it is private", "mend the name, or set GITHUB_TOKEN")
    if status in (403, 451):
        return ConfigError(f"GitHub forbids to read {repo.id}", "a token of an account that may: GITHUB_TOKEN")
    return None
