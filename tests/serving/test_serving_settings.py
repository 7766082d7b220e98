"""Which engine serves a model, with which settings, and what fits: at each bound, and just beyond."""

import json
from typing import Any

import pytest

from virc.core.errors import SetupError, UsageError
from virc.envs.hardware import Gpu, Machine
from virc.models.registry import EMBEDDED_FOLDER, Weights
from virc.serving import settings
from virc.serving.settings import refuse_unfit
from virc.stages.serve import Config


def machine(*free: float, memory: float = 64.0, trouble: str | None = None) -> Machine:
    gpus = tuple(Gpu("A100", 99.0, each, "580") for each in free)
    return Machine(8, 99.0, memory, 500.0, gpus, trouble)


CONFIG = json.loads((EMBEDDED_FOLDER / "config.json").read_text())
LONGEST = CONFIG["text_config"]["max_position_embeddings"]
OWN = Weights("tiny", EMBEDDED_FOLDER)
JUDGE = Weights("judge", EMBEDDED_FOLDER, judge=True)


@pytest.mark.parametrize(
    ("engine", "chosen", "weights", "expected"),
    [
        ("vllm", {"device": "mps"}, OWN, UsageError("vLLM does not run on mps")),
        ("transformers", {"device": "mps"}, OWN, {"device": "mps", "cache_gib": 4}),
        ("vllm", {}, OWN, {"max_model_len": None, "limit_images": 20, "cache_gib": 1}),
        ("vllm", {}, JUDGE, {"max_model_len": min(LONGEST, 32_768), "limit_images": 4}),
        ("vllm", {"limit_images": 2, "max_model_len": 99}, JUDGE, {"max_model_len": 99, "limit_images": 2}),
    ],
)
def test_settings_that_are_chosen_and_those_that_follow(
    engine: Any, chosen: Any, weights: Weights, expected: Any
) -> None:
    if isinstance(expected, Exception):
        with pytest.raises(type(expected), match=str(expected)):
            settings.configure(engine, chosen, weights)
        return
    config = settings.configure(engine, chosen, weights)
    assert {name: getattr(config, name) for name in expected} == expected


def cuda(**changes: Any) -> Config:
    return Config(device="cuda", **changes)


@pytest.mark.parametrize(
    ("config", "gib", "here", "says"),
    [
        (cuda(), 72.0, machine(92.0), None),
        (cuda(), 72.0, machine(91.9), "large needs 82.8 GiB, and 82.7 GiB of a GPU may be used"),
        (cuda(tensor_parallel_size=2, pipeline_parallel_size=2), 72.0, machine(*[23.0] * 3),
         "large needs 4 GPUs, and this machine has 3"),
        (cuda(gpus=(1,)), 1.0, machine(9.0), "large needs GPU 1, and the last of this machine is GPU 0"),
        (cuda(gpus=(0, 0), tensor_parallel_size=2), 1.0, machine(9.0, 9.0),
         "large needs 2 GPUs, and --gpus names 1, twice"),
        (Config(device="cpu", cache_gib=4), 40.0, machine(memory=49.9),
         "large needs 50.0 GiB, and 49.9 GiB of main memory are free"),
    ],
)  # fmt: skip
def test_what_fits_a_machine(config: Config, gib: float, here: Machine, says: str | None) -> None:
    if says is None:
        refuse_unfit(config, "large", gib, here)
        return
    with pytest.raises(SetupError) as refused:
        refuse_unfit(config, "large", gib, here)
    assert refused.value.message.startswith(says)


def test_a_driver_that_does_not_answer_is_the_hint() -> None:
    with pytest.raises(SetupError) as refused:
        refuse_unfit(cuda(), "large", 72.0, machine(trouble="the driver does not answer"))
    assert refused.value.hint == "the driver does not answer"
