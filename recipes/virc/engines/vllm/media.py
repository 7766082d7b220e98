"""In vLLM's process: media come inside their request; no file is read and no address fetched for a client.

vLLM of itself fetches any http address that a client names, those of its own machine and network too.
"""

from typing import Any

from vllm.exceptions import VLLMValidationError  # type: ignore[import-not-found, unused-ignore]
from vllm.multimodal.media import MEDIA_CONNECTOR_REGISTRY, MediaConnector  # type: ignore[import-not-found, unused-ignore]


@MEDIA_CONNECTOR_REGISTRY.register(__name__)  # type: ignore[untyped-decorator, unused-ignore]
class DataUrls(MediaConnector):  # type: ignore[misc, unused-ignore]
    """Reads data URLs and refuses all others; the client gets 400."""

    def load_from_url(self, url: str, *args: Any, **options: Any) -> Any:
        _check(url)
        return super().load_from_url(url, *args, **options)

    async def load_from_url_async(self, url: str, *args: Any, **options: Any) -> Any:
        _check(url)
        return await super().load_from_url_async(url, *args, **options)


def _check(url: str) -> None:
    if url[:5].lower() != "data:":
        sentence = "an image must be a data URL, such as data:image/png;base64,...; this server fetches nothing"
        raise VLLMValidationError(sentence, parameter="image_url")
