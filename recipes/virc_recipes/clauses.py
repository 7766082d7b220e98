"""What others said, as a part of a sentence of ours."""


def clause(error: BaseException) -> str:
    """The reason an exception gives, on one line, beginning small and without a full stop."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = " ".join(said.split()).rstrip(".") or type(error).__name__
    return text[:1].lower() + text[1:200]
