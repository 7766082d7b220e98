"""The ids of a rollout, the errors that end one, and the parts that stay: what needs no verl."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import msgspec
import pytest
from rewards.prompts import prompt

import virc
from virc.data.rows.record import Message
from virc.engines.verl import model as verl_model
from virc.engines.verl.agent_ids import SingleTurnSession, Speech
from virc.families import registry as families
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import FILE_NAME
from virc.reasoning.resize import QWEN2, Grid
from virc.reasoning.session import Ask, Done, Reply

if TYPE_CHECKING:
    import torch

TINY = Path(virc.__file__).parent / "models" / "tiny"


def _model() -> "torch.nn.Module":
    """Weights under the names of the Qwen-VL models."""
    import torch

    linear, model, visual = torch.nn.Linear, torch.nn.Module(), torch.nn.Module()
    model.visual, model.language_model = visual, linear(2, 2)
    visual.blocks, visual.merger = linear(2, 2), linear(2, 2)
    visual.deepstack_merger_list = torch.nn.ModuleList([linear(2, 2)])
    return model


@pytest.mark.integration
@pytest.mark.parametrize(("value", "saved"), [(0.5, True), (float("nan"), False), (float("inf"), False)])
def test_weights_that_are_not_finite_are_not_saved(value: float, saved: bool) -> None:
    class Engine:
        def __init__(self) -> None:
            self.module, self.saved = _model(), list[tuple[object, ...]]()

        def save_checkpoint(
            self, local_path: str, hdfs_path: str | None, global_step: int, max_ckpt_to_keep: int
        ) -> None:
            self.saved.append((local_path, hdfs_path, global_step, max_ckpt_to_keep))

    verl_model.mend_saving(Engine)
    engine = Engine()
    next(iter(engine.module.visual.merger.parameters())).data[0, 0] = value
    with nullcontext() if saved else pytest.raises(FloatingPointError, match="the weight visual"):
        engine.save_checkpoint("here", None, 4, 1)  # as verl's worker does
    assert engine.saved == ([("here", None, 4, 1)] if saved else [])


@pytest.mark.parametrize(
    ("kind", "sent"), [("glm4v", [1, 7, 8, 9, 2, 7, 8, 9]), ("internvl", [1, 8, 2, 8]), ("gemma4", [1, 8, 2, 8])]
)
def test_vllm_gets_one_id_in_the_place_of_each_picture(kind: str, sent: list[int]) -> None:
    marks = families.of(kind).marks
    numbers = SimpleNamespace(convert_tokens_to_ids=dict(zip(marks.image, (7, 8, 9), strict=True)).get)
    speech = Speech(numbers, QWEN2, 9, frozenset({9}), (), marks)
    assert speech.unexpanded([1, 7, 8, 8, 8, 9, 2, 7, 8, 9]) == sent


def test_vllm_gets_the_first_mark_alone_where_lines_around_a_picture_are_its_own() -> None:
    """The real processor of vLLM 0.32 made the same ids again of what it got."""
    marks = families.of("gemma3").marks
    words = SimpleNamespace(
        convert_tokens_to_ids=dict(zip(marks.image, (7, 8, 9), strict=True)).get,
        decode=lambda ids: "".join("\n" * (id - 20) if id > 20 else "x" for id in ids),
        encode=lambda text, **_: [20 + len(text)] if text else [],
    )
    speech = Speech(words, QWEN2, 9, frozenset({9}), (), marks)
    assert speech.unexpanded([1, 24, 7, 8, 8, 9, 24, 7, 8, 9, 22, 2, 23, 7, 8, 9, 22]) == [1, 22, 7, 7, 2, 21, 7]


@pytest.mark.parametrize("reference", [True, False])
def test_one_reply_follows_a_stored_conversation_whose_reference_nobody_sees(reference: bool) -> None:
    record = prompt(((280, 196), (56, 56)), before=["<think>look</think>"]).record
    known = (*record.messages, Message("assistant", "THE REFERENCE")) if reference else record.messages
    protocol = read_protocol(TINY / FILE_NAME)
    talk = SingleTurnSession(msgspec.structs.replace(record, messages=known), protocol, Grid())
    ask = talk.next()
    assert isinstance(ask, Ask)
    assert [(each.role, each.images) for each in ask.messages] == [
        ("system", ()), ("user", (0,)), ("assistant", ()), ("user", (1,))
    ]  # fmt: skip
    assert "THE REFERENCE" not in str(ask.messages)
    assert [(each.width, each.height) for each in ask.images] == [(280, 196), (56, 56)]
    talk.feed(Reply("mine", token_ids=(5, 6)))
    done = talk.next()
    assert isinstance(done, Done)
    assert (done.trace.messages[-1].text, done.trace.messages[-1].token_ids) == ("mine", (5, 6))
    assert len(done.trace.messages) == 5
    assert [(each.width, each.height) for each in done.trace.images] == [(280, 196), (56, 56)]
    assert done.trace.question == "How long is AB?"
