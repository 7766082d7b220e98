"""Runs in the engine's interpreter: algebra as verl's reward workers need it, in an event loop and beside threads."""

import asyncio
import json
import sys
import threading
import time

from virc.rewards.verl import compute_score

KEY = r"\frac{1}{2}\sqrt{2}"
ANSWERS = [r"\frac{\sqrt{2}}{2}", "9^9^9^9", r"\sqrt{1/2}", r"\sqrt{3}", "0.7071067811865476", "9**9**9**9"]


async def scored(settings: str) -> list[float]:
    info = {"index": 0, "question": "How long is AB?", "images": [], "extra": "{}",
            "prompt": [{"role": "user", "content": "How long is AB?"}]}  # fmt: skip
    found = await asyncio.gather(
        *(
            compute_score("virc", f"<think>a</think><answer>{each}</answer>", KEY, info, settings=settings)
            for each in ANSWERS
        )
    )
    return [each["answer"] for each in found]


async def main() -> None:
    """Print the verdicts, and the longest time the loop stood still, in seconds by the beats of another thread.

    That one stands still, too, where the process does not get a core.
    """
    still = last = beats = 0

    def count() -> None:
        nonlocal beats
        while True:
            time.sleep(0.01)
            beats += 1

    async def beat() -> None:
        nonlocal still, last
        while True:
            await asyncio.sleep(0.01)
            still, last = max(still, beats - last), beats

    threading.Thread(target=count, daemon=True).start()
    beating = asyncio.create_task(beat())
    found = await scored(sys.argv[1])
    beating.cancel()
    print(json.dumps({"answers": found, "still": still / 100}))


if __name__ == "__main__":
    asyncio.run(main())
