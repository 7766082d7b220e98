"""The published test for endless repetition, in near-linear time.

The published program searches a reply for `(.+?)\\1{7}`: some text that stands eight times in a row, on one line.
A backtracking engine needs quadratic time for that. Here the same verdict comes from the definition: a text of
length p stands k times in a row exactly where (k - 1) * p neighbouring characters each equal the one p further on.
"""


def repeats(text: str, times: int) -> bool:
    r"""Whether some text stands `times` times in a row within one line; under 2 the test is off.

    The verdict is that of `re.search(rf"(.+?)\1{{{times - 1}}}", text)`, newlines separating lines as there.
    """
    return times >= 2 and any(_line_repeats(line, times) for line in text.split("\n"))


def _line_repeats(line: str, times: int) -> bool:
    """Look for every period p only at every block-th character: about n * log(n) looks in all.

    A stretch of (times - 1) * p equal pairs holds one whole block of half that length which starts at a multiple
    of its length, so nothing is missed.
    """
    length = len(line)
    for period in range(1, length // times + 1):
        needed = (times - 1) * period
        block = max(1, needed // 2)
        for start in range(0, length - period - block + 1, block):
            if line[start] == line[start + period] and _stretch(line, start, period, needed) >= needed:
                return True
    return False


def _stretch(line: str, start: int, period: int, most: int) -> int:
    """How many neighbouring pairs (i, i + period) around `start` are equal; counted up to `most` on each side."""
    ahead = _common(line, start, start + period, most)
    if 2 * ahead < most - 1:  # the block of half the length does not match: another one will
        return ahead
    behind = 0
    while behind < min(start, most) and line[start - behind - 1] == line[start - behind - 1 + period]:
        behind += 1
    return ahead + behind


def _common(line: str, one: int, two: int, most: int) -> int:
    """Length of the common text from two places on, up to `most`, by comparing slices of doubling length."""
    done, step = 0, 8
    most = min(most, len(line) - two)
    while done < most:
        step = min(step, most - done)
        if line[one + done : one + done + step] == line[two + done : two + done + step]:
            done, step = done + step, step * 2
        elif step == 1:
            break
        else:
            step = max(1, step // 4)
            most = min(most, done + step * 4 + 3)
    return done
