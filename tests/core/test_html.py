"""Text in pages: what hides or reorders others is shown as a code point, what scripts need is not."""

import pytest

from virc.core.web import html


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("می\u200cخواهم", "می\u200cخواهم"), ("👩\u200d🔬", "👩\u200d🔬"),
        ("a\u202eb\tc", "a[U+202E]b\tc"), ("a\u200bb\x00", "a[U+200B]b[U+0000]"),
        ("<b>\u200c</b>\u2066", "&lt;b&gt;\u200c&lt;/b&gt;[U+2066]"),
    ],
)  # fmt: skip
def test_joiners_stay_and_marks_that_hide_are_shown(text: str, shown: str) -> None:
    assert html.safe(text, "[{}]") == shown
