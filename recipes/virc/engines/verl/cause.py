"""What an error of verl's processes came from."""


def cause(error: BaseException) -> str:
    """The error that others were raised for, in one line; Ray's carry that of another process."""
    while (inner := getattr(error, "cause", None) or error.__cause__) is not None:
        error = inner
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
