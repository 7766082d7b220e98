"""`conversation.json`, one conversation as the published script and `virc solve --trace` save it, read as rows are."""

import json
from pathlib import Path

from support.called import virc


def test_the_question_of_the_sample_is_shown_as_it_was_asked(sample: Path) -> None:
    done = virc("data", "show", sample / "conversation.json", "--json")
    asked = json.loads((sample / "conversation.json").read_text())[0]["content"]
    assert done.json["question"] == asked.partition("Question: ")[2].partition("\n")[0]
    assert done.json["format"] == "conversation"
    assert [image["fault"] is not None for image in done.json["images"]] == [True] * 3
    checked = virc("data", "check", sample / "conversation.json", "--json")
    assert checked.code == 5, "images that are not there are not pretended to be"
