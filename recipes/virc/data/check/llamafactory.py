"""What an entry of `dataset_info.json` makes LLaMA-Factory 0.9.5 stop at, or drop with no more than a warning."""

from virc.core.text import plain
from virc.data.check.result import Fault
from virc.data.formats import pairs
from virc.data.formats.registry import RowsFile

_DROPPED = "LLaMA-Factory drops every row"
_STOPS = "LLaMA-Factory stops at the first row"
_TAGS = {"role_tag": _STOPS, "content_tag": _STOPS, "user_tag": _DROPPED, "assistant_tag": _DROPPED}
"""What follows where an entry has tags and leaves one out."""
_ELSEWHERE = ("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url", "cloud_file_name")


def check_entry(source: RowsFile) -> list[Fault]:
    """What the entry of a file in `dataset_info.json`, if it has one, makes LLaMA-Factory do with all its rows.

    Where an entry has `columns` or `tags`, LLaMA-Factory ignores whatever they do not name.
    """
    info = source.info
    if not info or source.laid_out:  # rows of a layout are written again, with an entry of their own
        return []
    form, tags, split = info.get("formatting"), info.get("tags"), info.get("split", "train")
    has_columns, ranked = isinstance(info.get("columns"), dict), source.format == pairs.NAME
    columns = info["columns"] if has_columns else {}
    said = "formatting openai makes LLaMA-Factory write 'detailed thinking off' into every system message"
    named = f"formatting {plain(form, 40)!r}" if form is not None else "an entry without formatting"
    no_images = "columns name no images: LLaMA-Factory sees none, and stops at the first mark"
    ranking = "ranking is on: LLaMA-Factory stops, as that is for another kind of training"
    checks = [
        (form == "openai", "formatting", f"{said}: the model learns another chat protocol; name sharegpt"),
        (form not in ("openai", "sharegpt"), "formatting",
         f"{named} is not read as messages, so {_DROPPED} or stops; name sharegpt"),
        (not has_columns, "columns", "no columns are named, so LLaMA-Factory sees no images: name messages and images"),
        (has_columns and not columns.get("messages"), "columns", f"columns name no messages: {_STOPS}"),
        (has_columns and not columns.get("images"), "columns", no_images),
        *((ranked and not columns.get(side), "columns", f"columns name no {side}: {_STOPS}") for side in pairs.SIDES),
        *((isinstance(tags, dict) and not tags.get(tag), "tags_unnamed", f"tags name no {tag}: {follows}")
          for tag, follows in _TAGS.items()),
        *((info.get(key), "entry", f"{key} is named, so LLaMA-Factory does not read the file") for key in _ELSEWHERE),
        (info.get("num_samples") is not None, "entry",
         "num_samples makes LLaMA-Factory draw that many rows at random"),
        (info.get("ranking") and not ranked, "entry", ranking),
        (ranked and not info.get("ranking"), "entry", f"ranking is not on, which rows of pairs need: {_DROPPED}"),
        (split != "train", "entry", f"there is no split {plain(split, 40)} of a file, only train"),
        *((name in columns, "entry", f"columns name {name}, which virc does not support") for name in source.unread),
    ]  # fmt: skip
    return [Fault(kind, sentence) for found, kind, sentence in checks if found]
