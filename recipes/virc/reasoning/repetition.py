"""The published test for endless repetition, in near-linear time.

The published program searches a reply for `(.+?)\\1{7}`: some text that stands eight times in a row on one line. A
backtracking engine needs quadratic time for that. Here the same verdict comes from the definition: a text of length p
stands k times in a row exactly where (k - 1) * p neighbouring characters equal those p further on.
"""


def repeats(text: str, times: int) -> bool:
    r"""Whether some text stands `times` times in a row within one line; under 2 the test is off.

    The verdict is that of `re.search(rf"(.+?)\1{{{times - 1}}}", text)`, where only \n ends a line.
    """
    return times >= 2 and any(_line_repeats(line, times) for line in text.split("\n"))


def _line_repeats(line: str, times: int) -> bool:
    """Try every period at the starts of aligned blocks only: about n * log(n) looks in all.

    A stretch of (times - 1) * p equal pairs holds a whole block of half that length which starts at a
    multiple of its own length, so none is missed.
    """
    length = len(line)
    for period in range(1, length // times + 1):
        needed = (times - 1) * period
        block = max(1, needed // 2)
        last = block - 1
        for start in range(0, length - period - last, block):
            # most blocks differ in their first or last character already
            if line[start] != line[start + period] or line[start + last] != line[start + period + last]:
                continue
            equal = _common(line, start, start + period, needed)
            if equal < block:
                continue
            while equal < needed and start > 0 and line[start - 1] == line[start - 1 + period]:
                start, equal = start - 1, equal + 1  # noqa: PLW2901
            if equal >= needed:
                return True
    return False


def _common(line: str, one: int, two: int, most: int) -> int:
    most = min(most, len(line) - two)
    done, step = 0, 8
    while done < most:
        step = min(step, most - done)
        if line[one + done : one + done + step] == line[two + done : two + done + step]:
            done, step = done + step, step * 2
        else:
            most, step = done + step - 1, max(1, step // 2)
    return done
