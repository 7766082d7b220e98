"""What a user writes, as a type checker sees it (`test_python_api.py`)."""

from pathlib import Path
from typing import assert_type

from PIL import Image

import virc

IMAGE = Image.new("RGB", (40, 30))
PICTURES = ("a.png", Path("a.png"), b"", IMAGE)


def of_one(model: Path | str) -> str:
    with virc.load(model, endpoint="http://localhost:8000/v1") as opened:
        for picture in PICTURES:
            solution = virc.solve(picture, "How many?", opened, temperature=0.5)
            assert_type(solution, virc.Solution)
        assert_type(virc.solve(["a.png", "b.png"], "How many?").answer, str | None)
        assert_type(virc.solve([Path("a.png"), IMAGE], "How many?").trace, Path | None)
    try:
        virc.solve("a.png", "How many?")
    except virc.NetworkError as error:
        return error.message
    except (virc.ConfigError, virc.DataError, virc.EngineError, virc.NoAnswerError, virc.SetupError) as error:
        return error.hint or ""
    except (virc.UsageError, virc.VircError):
        raise
    return ""


async def of_many(rows: list[tuple[str, str]]) -> None:
    for solution in virc.batch(rows, "tiny", concurrency=2, samples=3):
        assert_type(solution.seconds, float | None)
    async for awaited in virc.abatch(rows, max_turns=3, trust_rows=True, max_cost=1.5, prices="prices.yaml"):
        assert_type(awaited.answer, str | None)
    assert_type(await virc.asolve(IMAGE, "How many?", timeout=3.0), virc.Solution)
    virc.solve(IMAGE, "How many?", top="3")  # type: ignore[call-arg]
    virc.evaluate("diagrams", "tiny", seeds="3")  # type: ignore[arg-type]
    virc.serve("tiny", port="3")  # type: ignore[arg-type]
    await virc.asolve(3, "How many?")  # type: ignore[arg-type]
    virc.batch(rows, max_turns="3")  # type: ignore[arg-type]
    virc.batch(rows, on_event=print)  # type: ignore[call-arg]
