"""The agent loop of `stored`: the last rollout of a row's group gets the reply of the row."""

from collections.abc import Mapping
from typing import Any

from virc.data.rows.record import Record
from virc.engines.verl.agent import VircLoop
from virc.engines.verl.agent_ids import Ids
from virc_extras.token_weights.stored import COLUMN, ids_of


class StoredLoop(VircLoop):
    """One rollout, whose first reply may be the row's."""

    async def reply(self, record: Record, row: Mapping[str, Any], ids: Ids, **asked: Any) -> Any:
        """A reply as drawn, or that of the row: one token is drawn, for what is said of the weights that draw."""
        text = record.extra.get(COLUMN)
        if not text or ids.response or row.get("session_id") != self.rollout_config.n - 1:
            return await super().reply(record, row, ids, **asked)
        stored = ids_of(text, ids)
        sampling = asked["sampling_params"] | {"max_tokens": 1}
        output = await super().reply(record, row, ids, **(asked | {"sampling_params": sampling}))
        self.is_drawn = False
        return output.model_copy(update={"token_ids": stored, "log_probs": output.log_probs and [0.0] * len(stored)})
