"""Which addresses of media vLLM's process reads, on stand-ins for vLLM's classes."""

import asyncio
import importlib
import sys
from types import ModuleType
from typing import Any

import pytest

NAME = "virc.engines.vllm.media"


class Refused(Exception):  # noqa: N818 - vLLM's VLLMValidationError
    def __init__(self, sentence: str, parameter: str) -> None:
        super().__init__(sentence)
        self.parameter = parameter


class Connector:
    """vLLM's own, which fetches whatever it is given."""

    def load_from_url(self, url: str, *args: Any, **options: Any) -> Any:
        return url, args, options

    async def load_from_url_async(self, url: str, *args: Any, **options: Any) -> Any:
        return url, args, options


@pytest.fixture
def connector(monkeypatch: pytest.MonkeyPatch) -> Any:
    registered: dict[str, type] = {}

    class Registry:
        @staticmethod
        def register(name: str) -> Any:
            return lambda given: registered.setdefault(name, given)

    fields = {
        "vllm.exceptions": {"VLLMValidationError": Refused},
        "vllm.multimodal.media": {"MEDIA_CONNECTOR_REGISTRY": Registry, "MediaConnector": Connector},
    }
    for name in ("vllm", "vllm.exceptions", "vllm.multimodal", "vllm.multimodal.media"):
        module = ModuleType(name)
        module.__dict__.update(fields.get(name, {}))
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    importlib.import_module(NAME)
    monkeypatch.delitem(sys.modules, NAME)
    return registered[NAME]()  # by the name that VLLM_MEDIA_CONNECTOR has


@pytest.mark.parametrize("url", ["data:image/png;base64,iVBO", "DATA:image/png;base64,iVBO"])
def test_what_comes_inside_a_request_is_read(connector: Any, url: str) -> None:
    read = (url, (1,), {"fetch_timeout": 5})
    assert connector.load_from_url(url, 1, fetch_timeout=5) == read
    assert asyncio.run(connector.load_from_url_async(url, 1, fetch_timeout=5)) == read


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/?data:",
        "https://example.org/data:image/png;base64,iVBO",
        "file:///etc/passwd", "", " data:image/png;base64,iVBO"],
)  # fmt: skip
def test_nothing_is_fetched_for_a_client(connector: Any, url: str) -> None:
    with pytest.raises(Refused, match="this server fetches nothing") as refused:
        connector.load_from_url(url)
    assert refused.value.parameter == "image_url"
    with pytest.raises(Refused, match="must be a data URL"):
        asyncio.run(connector.load_from_url_async(url))
