"""Seeds made of a seed and of what it is for: no two draws share their noise, and all of them can be repeated."""

import hashlib


def derived(seed: int, *parts: object) -> int:
    """The seed of one thing among many, from 0 to 2^31 - 1, which every engine takes.

    Draws from one seed take the same way wherever shares are alike: over a thousand problems that are asked so, all
    succeed or fail together, and no interval holds. The same parts give the same seed on every machine.
    """
    text = " ".join(str(part) for part in (seed, *parts))
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") % 2**31
