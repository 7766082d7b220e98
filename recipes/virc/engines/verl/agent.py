"""The agent loop of verl 0.9.1 that drives our Session: whole problems (`multi_turn`), or one unit (`per_cru`).

Registered by a file that `rollout.agent.agent_loop_config_path` names: a list with `name: virc`, `_target_:
virc.engines.verl.agent.VircLoop` and the arguments of `VircLoop`.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import msgspec
from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput  # type: ignore[import-not-found]

from virc.core.errors import DataError
from virc.core.seeds import derived
from virc.data.live import session_of
from virc.data.rows import verl as verl_rows
from virc.data.rows.record import Record
from virc.engines.verl.agent_failures import tell
from virc.engines.verl.agent_ids import Ids, SingleTurnSession, ended, following, shown_once, speech, up_to_stop
from virc.models.chat_protocol import read_protocol
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Ask, Done, Reply, Session
from virc.rewards.verl import read_settings, report
from virc.tools.registry import check_ready

_BARRED = -100.0  # added to a logit that vLLM must not draw


class PromptMode(msgspec.Struct, frozen=True):
    """How a row is prompted: in which chat protocol, and for how many units at most."""

    protocol: Protocol
    max_turns: int


class VircLoop(AgentLoopBase):  # type: ignore[misc]
    """One rollout.

    Args:
        protocol: file of the chat protocol that conversations are held in.
        folder: of the rows' images; others are not opened.
        rollout: the whole problem, or one unit after the conversation of the row.
        max_tokens: longest reply, the end of its turn included, if the chat protocol has no `sampling.max_tokens`;
            None bounds it by `response_length` alone.
        tolerate: deviations of tool calls that are forgiven, see `Session`. A rejected reply ends the rollout.
        sources: the settings of the reward of other systems, by their names: they say how rows of theirs, by the
            column `data_source`, are prompted.
    """

    def __init__(
        self,
        *args: Any,
        protocol: str,
        folder: str,
        rollout: Literal["multi_turn", "per_cru"] = "multi_turn",
        max_turns: int = 16,
        max_tokens: int | None = None,
        tolerate: Sequence[str] = (),
        max_pixels: int | None = None,
        sources: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        tell()
        self._own, self._folder = PromptMode(_protocol(protocol), max_turns), Path(folder)
        self._sources = {name: _mode(file) for name, file in (sources or {}).items()}
        for mode in (self._own, *self._sources.values()):
            check_ready(mode.protocol.tools)
        self._speech = speech(str(self.config.actor_rollout_ref.model.path), max_pixels)
        self._talk = self._session if rollout == "multi_turn" else self._prefix
        self._max_tokens, self._tolerate = max_tokens, tuple(tolerate)
        self.is_drawn = True

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Hold the conversation of a row.

        Returns:
            The ids with their mask; for reward and traces `rollout` (a `Trace` as JSON), `replies` and `finish` (texts
            as they were fed, each with `stop` or `length`), `ended` (`answer`, `format`, `turns`, `length`), and
            `drawn`: whether all replies were.

        Raises:
            DataError: the row cannot be read, or its prompt is longer than `rollout.prompt_length`.
        """
        mode = self._sources.get(str(row.get("data_source")), self._own)
        record = verl_rows.record_of({key: row.get(key) for key in ("extra_info", "reward_model")}, self._folder)
        session = await asyncio.to_thread(self._talk, record, mode)
        ask = session.next()
        ids = Ids(self._prompt(ask, row), self._speech, self.rollout_config.response_length)
        request, metrics = uuid4().hex, AgentLoopMetrics()
        first: int | None = None
        replies: list[Reply] = []
        while isinstance(ask, Ask):
            last, began = ask, time.perf_counter()
            output = await self.reply(
                record,
                row,
                ids,
                request_id=request,
                prompt_ids=self._speech.unexpanded(ids.all) if self.rollout_config.name == "vllm" else ids.all,
                sampling_params=self._sampling(sampling_params, ids, last.stop, row, mode),
                image_data=[shown.pixels for shown in ask.images],
            )
            metrics.generate_sequences += time.perf_counter() - began
            began = time.perf_counter()
            replies.append(up_to_stop(ids.reply(output.token_ids, output.log_probs), mode.protocol.grammar))
            ask = await asyncio.to_thread(following, session, ids, replies[-1], self._speech)
            metrics.tool_calls += time.perf_counter() - began
            first = output.extra_fields.get("min_global_steps") if first is None else first
        trace = session.trace()
        return AgentLoopOutput(
            prompt_ids=ids.prompt,
            response_ids=ids.response,
            response_mask=ids.mask,
            response_logprobs=ids.chances if output.log_probs else None,
            # verl's processor fails on an empty list
            multi_modal_data={"images": [shown.pixels for shown in last.images] or None},
            num_turns=len(trace.messages) - 1,
            metrics=metrics,
            extra_fields={
                **output.extra_fields,
                "min_global_steps": first,
                "turn_scores": [],
                "tool_rewards": [],
                "rollout": msgspec.json.encode(trace).decode(),
                "replies": [reply.text for reply in replies],
                "finish": [reply.finish for reply in replies],
                "ended": ended(trace, ids.room),
                "drawn": self.is_drawn,
            },
        )

    async def reply(self, record: Record, row: Mapping[str, Any], ids: Ids, **asked: Any) -> Any:
        """Draw a reply, as verl's server gives it; a loop of an extra may have another, and says so by `is_drawn`."""
        return await self.server_manager.generate(**asked)

    def _session(self, record: Record, mode: PromptMode) -> Session | SingleTurnSession:
        return session_of(
            record, mode.protocol, self._speech.grid, shown_once,
            tolerate=self._tolerate, max_turns=mode.max_turns, on_tool_failure=report,
        )  # fmt: skip

    def _prefix(self, record: Record, mode: PromptMode) -> Session | SingleTurnSession:
        return SingleTurnSession(record, mode.protocol, self._speech.grid)

    def _prompt(self, ask: Ask | Done, row: Mapping[str, Any]) -> list[int]:
        assert isinstance(ask, Ask)  # nothing is over that has not begun
        ids = self._speech.encode(ask)
        most = self.rollout_config.prompt_length
        if len(ids) > most:
            sentence = f"the prompt of row {row.get('index')} has {len(ids)} tokens, over {most}"
            raise DataError(sentence, "raise data.max_prompt_length, or lower max_pixels")
        return ids

    def _sampling(
        self, given: Mapping[str, Any], ids: Ids, stop: Sequence[str], row: Mapping[str, Any], mode: PromptMode
    ) -> dict[str, Any]:
        """verl's sampling parameters, with the longest reply, where it stops, and without images of the model's own."""
        most = self._max_tokens and (mode.protocol.sampling.max_tokens or self._max_tokens)
        sampling = {**given, "max_tokens": min(most or ids.room, ids.room)}
        if stop:
            sampling["stop"] = list(stop)
        if self.rollout_config.name == "vllm":
            sampling["logit_bias"] = dict.fromkeys(self._speech.never, _BARRED)
            sampling["include_stop_str_in_output"] = bool(stop)
        else:
            place = (row.get(name) for name in ("global_steps", "index", "session_id"))
            sampling["seed"] = derived(self.rollout_config.seed, *place, ids.all)
        return sampling


@cache
def _protocol(file: str) -> Protocol:
    return read_protocol(Path(file))


@cache
def _mode(file: str) -> PromptMode:
    settings = read_settings(file)
    assert settings.protocol
    beside = Path(settings.beside) if settings.beside else None
    return PromptMode(read_protocol(Path(settings.protocol), beside), settings.max_turns)
