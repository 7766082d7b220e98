"""The agent endpoint in front of models that write otherwise than in the three tags."""

from agent_server import scripted

from virc.models import chat_protocol
from virc.systems import registry as systems

ZOOM = 'The left half.\n{"bbox_2d": [0, 0, 140, 140]}'


def test_a_bare_box_is_a_look_and_what_stands_before_it_the_thought() -> None:
    protocol = chat_protocol.of_system(systems.get("vlm-r3")).protocol
    with scripted([ZOOM, "It reads 97.\n<answer>97</answer>"], protocol=protocol) as running:
        status, said = running.ask()
        assert running.behind.chats()[0]["stop"] == ["]}", "]\n}", "] }", "</answer>"]
    assert status == 200
    (choice,) = said["choices"]
    assert choice["message"]["content"] == "97"
    assert choice["message"]["reasoning_content"] == "The left half.\n\nIt reads 97."
    (look,) = choice["message"]["virc_tool_calls"]
    assert look["tool"] == "zoom_image"
    assert look["box"] == [0, 0, 140, 140]


def test_a_model_without_tools_answers_at_once() -> None:
    protocol = chat_protocol.of_system(systems.get("visual-rft")).protocol
    with scripted(["<think>It is white.</think>\n<answer>white</answer>"], protocol=protocol) as running:
        status, said = running.ask()
    assert status == 200
    (choice,) = said["choices"]
    assert (choice["message"]["content"], choice["message"]["virc_tool_calls"]) == ("white", [])
