"""Servers that are told of the tools, where a probe found that they make calls only then."""

from pathlib import Path

import pytest
from asked import Asked, told
from server import Scene, play
from speeches import apart, structured
from wires import Gemini, Listed, LlamaCpp, Mistral, MlxVlm, OllamaNative, OpenAi, Sglang, Vllm, Wire

from virc.probing.result import Probed, keep

WIRES: tuple[tuple[Wire, str], ...] = (
    (Vllm(), "vllm"),
    (Sglang(), "sglang"),
    (LlamaCpp(), "llamacpp"),
    (OllamaNative(), "library"),
    (MlxVlm(), ""),
    (Mistral(), "mistralai"),
    (Gemini(), "google"),
    (OpenAi(), "system"),
)


@pytest.mark.parametrize(
    ("wire", "owner", "streamed"),
    [(*row, way) for row in WIRES for way in ((True, False) if row[1] in ("library", "vllm") else (True,))],
)
def test_a_server_that_is_told_of_the_tools_gets_its_calls_back(
    wire: Wire, owner: str, streamed: bool, small: Path
) -> None:
    asked = _asked(Scene(wire, Listed("qwen3-vl-8b"), apart(structured()), streamed=streamed), owner, small)
    assert asked.is_right, (asked.faults, asked.done.err)
    assert all(body["tools"] for body in asked.chats)
    assert len(asked.chats) == 2
    roles = [message["role"] for message in asked.chats[1]["messages"]]
    assert roles == ["user", "assistant", "tool", "user"]  # the tools alone are the system message
    assert "<tool_call>" not in str(asked.chats[1]["messages"])


def _asked(scene: Scene, owner: str, small: Path) -> Asked:
    with play(scene) as server:
        keep(
            Probed(
                endpoint=server.url,
                model=scene.model.id,
                server=owner,
                family="qwen3-vl",
                coordinates="thousand",
                box="corners",
                scaling="none",
                ordered=True,
                calls="native",
            )
        )
        return told(server, small)
