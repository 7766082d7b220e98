"""No message is longer than 2,000 characters, whatever a user gave."""

import base64

import pytest
from support.tables import each_case

import virc
from virc.core.errors import VircError

LONG = base64.b64encode(bytes(range(256)) * 400).decode()


@each_case(
    "picture", [LONG, f"x/{LONG}", f"data:image/png;base64,{LONG}!", f"http://{LONG}", f"file:///{LONG}", LONG * 2]
)
def test_a_long_word_in_place_of_a_picture_is_a_short_error(picture: str) -> None:
    with pytest.raises(VircError) as raised:
        virc.solve(picture, "What?", "tiny", offline=True)
    for text in (raised.value.message, raised.value.hint or "", str(raised.value)):
        assert len(text) <= 2000, text[:100]
