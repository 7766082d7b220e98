"""Why vLLM ended, from logs as vLLM 0.32 writes them."""

import pytest

from virc.engines.vllm.log import reason

PREFIX = "(EngineCore pid=19045) ERROR 11-20 19:55:17 [core.py:1510] "
MISSING = "ValueError: There is no module or parameter named 'head.weight' in Qwen2Model."
SECOND = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}"
UNKNOWN = """Traceback (most recent call last):
  File "dataclasses.py", line 121, in __init__
pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, The checkpoint has model type `nonesuch` but Transformers does not recognize it.

    For further information visit https://errors.pydantic.dev/2.14/v/value_error"""


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (
            f"{PREFIX}    raise ValueError(msg)\n{PREFIX}{MISSING}\n    raise RuntimeError(\n{SECOND}",
            "there is no module or parameter named 'head.weight' in Qwen2Model",
        ),
        (UNKNOWN, "the checkpoint has model type `nonesuch` but Transformers does not recognize it"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried 2 GiB.\n", "CUDA out of memory. Tried 2 GiB"),
        (f"OSError: first\n{MISSING}\n  File 'x'", "there is no module or parameter named 'head.weight' in Qwen2Model"),
        ("INFO: all is well\nError: \n", None),
        ("", None),
    ],
    ids=["second hand", "validation", "memory", "the last", "none raised", "empty"],
)
def test_the_reason_is_what_was_raised_first_hand(log: str, said: str | None) -> None:
    assert reason(log.splitlines()) == said
