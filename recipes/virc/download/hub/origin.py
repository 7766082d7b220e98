"""Where the content of a file is asked for, and with which headers; those go to that address alone."""

import logging
import os

from virc.core.errors import ConfigError, NetworkError
from virc.download.hub.repository import File, Repo, endpoint

API = "https://api.github.com"
RAW = "https://raw.githubusercontent.com"
MEDIA = "https://media.githubusercontent.com/media"
"""GitHub: its API, files of repositories, and files that Git LFS stores."""
JSON, SHA, BYTES = "application/vnd.github+json", "application/vnd.github.sha", "application/octet-stream"


_SILENT = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def silence(with_xet: bool = False) -> None:
    """Call this before huggingface_hub is imported, which reads these variables once: no telemetry, no Xet.

    Args:
        with_xet: for uploads, which resume inside a file by it; what Xet sends to this machine comes in no ranges.
    """
    os.environ.update(_SILENT if with_xet else {**_SILENT, "HF_HUB_DISABLE_XET": "1"})
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # what it would say, an error says here


def hub_headers() -> dict[str, str]:
    """Headers for the hub, with the user's token where there is one. Raises ConfigError: it is none."""
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers: dict[str, str] = build_hf_headers(library_name="virc")
    if not all(value.isascii() for value in headers.values()):
        sentence = "the token for the hub holds characters that are in no token, such as typographic quotes"
        raise ConfigError(sentence, "mend HF_TOKEN, or `hf auth login`")
    return headers


def is_offline() -> bool:
    silence()
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def check_online(repo: Repo) -> None:
    if is_offline():
        raise NetworkError(f"{repo.id} is on the network, and HF_HUB_OFFLINE forbids it", "unset HF_HUB_OFFLINE")


def home(repo: Repo) -> str:
    return endpoint() if repo.host == "hub" else API


def github_headers(accept: str) -> dict[str, str]:
    token = os.environ.get("GITHUB_TOKEN", "").strip()
    if not (token.isascii() and token.isprintable()):
        raise ConfigError("GITHUB_TOKEN holds characters that are in no token", "mend or unset GITHUB_TOKEN")
    known = {"Accept": accept, "User-Agent": "virc", "X-GitHub-Api-Version": "2022-11-28"}
    return {**known, "Authorization": f"Bearer {token}"} if token else known


def request_for(repo: Repo, commit: str, file: File) -> tuple[str, dict[str, str]]:
    if file.url is not None:
        return file.url, github_headers(BYTES)
    from huggingface_hub import hf_hub_url

    url = hf_hub_url(repo.id, file.name, repo_type=repo.kind, revision=commit, endpoint=endpoint())
    return url, hub_headers()
