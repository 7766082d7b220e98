"""Runs in the engine's interpreter: the prompts of a file as verl's data set gives them to our agent loop, in ids."""

import json
import sys
from pathlib import Path

from omegaconf import OmegaConf  # type: ignore[import-not-found]
from verl.utils import hf_processor, hf_tokenizer  # type: ignore[import-not-found]
from verl.utils.dataset.rl_dataset import RLHFDataset  # type: ignore[import-not-found]

from virc.data.rows import verl as verl_rows
from virc.data.rows.record import inputs_of
from virc.engines.verl.agent_ids import SingleTurnSession, speech
from virc.models.chat_protocol import read_protocol
from virc.reasoning.images import open_image
from virc.reasoning.session import Session
from virc.tools.registry import known


def main(file: str, model: str, protocol: str, folder: str, rollout: str) -> None:
    """Print the number of ids of every prompt."""
    config = OmegaConf.create({"filter_overlong_prompts": False, "return_raw_chat": True})
    rows = RLHFDataset(file, hf_tokenizer(model), config, hf_processor(model))
    spoken, chat_protocol = speech(model), read_protocol(Path(protocol))
    counts = []
    for at in range(len(rows)):
        row = rows[at]
        fields = {key: row[key] for key in ("extra_info", "reward_model")}
        record = verl_rows.record_of(fields, Path(folder))
        if rollout == "per_cru":
            ask = SingleTurnSession(record, chat_protocol, spoken.grid).next()
        else:
            images = [open_image(record.images[index].read(), "") for index in inputs_of(record)]
            ask = Session(chat_protocol, record.question or "", images, spoken.grid, tools=known()).next()
        counts.append(len(spoken.encode(ask)))  # type: ignore[arg-type]
    print(json.dumps(counts))


main(*sys.argv[1:])
