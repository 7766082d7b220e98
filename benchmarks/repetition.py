"""How much faster the repetition test is than the published regular expression, both in this run.

python benchmarks/repetition.py
"""

import random
import re
import timeit
from functools import partial

from virc.reasoning.repetition import repeats

PUBLISHED = re.compile(r"(.+?)\1{7}")


def main() -> None:
    """Print one line per length: seconds of both and their ratio."""
    rng = random.Random(4)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(300)]
    for length in (4_000, 8_000):
        text = " ".join(rng.choices(words, k=length))[:length]
        assert repeats(text, 8) is (PUBLISHED.search(text) is not None) is False
        theirs = min(timeit.repeat(partial(PUBLISHED.search, text), number=1, repeat=3))
        ours = min(timeit.repeat(partial(repeats, text, 8), number=1, repeat=20))
        print(f"{length} characters: regex {theirs:.3f} s, ours {ours:.5f} s, ratio {theirs / ours:.0f}")


if __name__ == "__main__":
    main()
