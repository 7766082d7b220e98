"""Which requests are answered, by where they come from and by their key."""

import pytest

from virc.core.web import site

HERE, ELSEWHERE = "127.0.0.1", "192.168.1.5"


@pytest.mark.parametrize(
    ("headers", "here", "has_key", "refused"),
    [
        ({"host": "localhost:8000"}, HERE, False, None),
        ({"host": "127.0.0.1:8000"}, HERE, False, None),
        ({"host": "[::1]:8000"}, "::1", False, None),
        ({"host": "virc.example:8000"}, HERE, False, "localhost only"),
        ({}, HERE, False, "localhost only"),
        ({"host": "virc.example:8000"}, HERE, True, None),
        ({"host": "virc.example:8000"}, ELSEWHERE, False, None),
        ({"host": "localhost:8000", "origin": "http://localhost:8000"}, HERE, False, None),
        ({"host": "localhost:8000", "origin": "http://localhost:9000"}, HERE, False, "another site"),
        ({"host": "localhost:8000", "origin": "https://evil.example"}, HERE, True, "another site"),
        ({"host": "localhost:8000", "origin": "null"}, HERE, True, "another site"),
        ({"host": "localhost:8000", "sec-fetch-site": "cross-site"}, HERE, True, "another site"),
        ({"host": "localhost:8000", "sec-fetch-site": "same-site"}, HERE, False, "another site"),
        ({"host": "localhost:8000", "sec-fetch-site": "same-origin"}, HERE, False, None),
    ],
)
def test_pages_of_other_sites_and_names_are_refused(
    headers: dict[str, str], here: str, has_key: bool, refused: str | None
) -> None:
    found = site.refusal(headers, here, has_key)
    assert found is None if refused is None else refused in (found or "")


@pytest.mark.parametrize(
    ("authorization", "keys", "number"),
    [
        ("Bearer one", "one", 0),
        ("bearer  one ", "one", 0),
        ("Bearer two", ("one", "two"), 1),
        ("Bearer schl\u00fc\u00dfel", "schl\u00fc\u00dfel", None),  # latin-1 on the wire: it is another text
        ("Bearer schl\u00c3\u00bcssel", "schl\u00fcssel", 0),
        ("Basic one", "one", None),
        ("Bearer one1", "one", None),
        ("Bearer ", "one", None),
        ("", "one", None),
        ("Bearer one", None, None),
    ],
)
def test_only_a_whole_key_as_a_bearer_token_is_known(
    authorization: str, keys: str | tuple[str, ...] | None, number: int | None
) -> None:
    assert site.key_among(authorization, keys) == number
