"""The first answer of a model, without which it is not served."""

from PIL import Image

from virc.backends.interface import Backend, Sampling
from virc.reasoning.images import show
from virc.reasoning.session import Ask, Message


def ask_first(backend: Backend) -> None:
    """Ask about a small white picture. Raises VircError: as the backend."""
    white = show(Image.new("RGB", (56, 56), "white"), backend.grid)
    backend.reply(Ask((Message("user", "What is this?", (0,)),), (white,)), Sampling(max_tokens=1))
