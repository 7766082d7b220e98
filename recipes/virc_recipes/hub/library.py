"""huggingface_hub as it is used here: without telemetry, Xet, progress bars and words of its own."""

import logging
import os

_SILENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_XET": "1",  # whose files come in no ranges
}


def silence() -> None:
    """Call this before the library is imported: it reads these variables once."""
    os.environ.update(_SILENT)
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # what it would say, an error says here
