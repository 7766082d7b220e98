"""What others said, as a part of a sentence of ours."""


def plain(text: object, most: int = 300) -> str:
    """Foreign text as part of one printed line: no control characters, no full stop, `most` characters."""
    printable = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * most])
    line = " ".join(printable.split())
    return line[:most].rstrip(". ") + ("…" if len(line) > most else "")


def clause(error: BaseException) -> str:
    """The reason an exception gives, on one line, beginning small (but `JSON`) and without a full stop."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = plain(said, 200)
    if not text:
        return type(error).__name__
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
