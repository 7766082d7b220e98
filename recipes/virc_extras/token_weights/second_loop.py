"""The agent loop of `second`: after a rollout that looked, its question again with what it saw first."""

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import msgspec
from PIL import Image
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput  # type: ignore[import-not-found]

from virc.data.rows import verl as verl_rows
from virc.engines.verl.agent import VircLoop
from virc.engines.verl.agent_ids import Ids
from virc.reasoning.images import Shown
from virc.reasoning.media import lines_of
from virc.reasoning.session import Ask
from virc.reasoning.trace import Trace
from virc.reasoning.turns import opening
from virc_extras.token_weights.second import QUESTION, REPLY

_SYSTEM = "You are a helpful assistant."  # of the chat template of Qwen2.5-VL
_MOST = 1024  # tokens


class SecondLoop(VircLoop):
    """One rollout, and the reply to its second question."""

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """As of the usual loop; `second_reply` is the second one, empty where nothing was asked."""
        output = await super().run(sampling_params, **row)
        record = verl_rows.record_of({key: row.get(key) for key in ("extra_info", "reward_model")}, self._folder)
        trace = msgspec.json.decode(output.extra_fields["rollout"], type=Trace)
        looks = (result.images for unit in trace.units for result in unit.results if result.images)
        pictures, first = output.multi_modal_data["images"] or [], next(looks, ())
        question, is_shown = record.extra.get(QUESTION), bool(first) and first[-1] < len(pictures)
        asked = self._again(question, trace, first, pictures) if question and is_shown else None
        output.extra_fields[REPLY] = await self._greedy(asked, sampling_params) if asked else ""
        return output

    def _again(self, question: str, trace: Trace, first: Sequence[int], pictures: Sequence[Image.Image]) -> Ask:
        spoken = msgspec.structs.replace(trace.protocol, system=_SYSTEM, first="{images}\n{question}")
        images = [Shown(pictures[index]) for index in first]
        lines = lines_of([trace.images[index].place for index in first], spoken)
        return Ask(tuple(opening(spoken, question, [each.size for each in images], lines)), images)

    async def _greedy(self, asked: Ask, given: dict[str, Any]) -> str:
        ids = Ids(self._speech.encode(asked), self._speech, self.rollout_config.response_length)
        drawing = {**given, "max_tokens": min(_MOST, ids.room), "temperature": 0.0, "top_k": 1, "top_p": 1.0}
        images = [each.pixels for each in asked.images]
        output = await self.server_manager.generate(
            request_id=uuid4().hex, prompt_ids=ids.all, sampling_params=drawing, image_data=images
        )
        return ids.reply(output.token_ids).text
