"""Two sessions that go on from one: what one does, the other does not see."""

from PIL import Image
from support.solving import CROP, answer, call

from virc.reasoning.history import History
from virc.reasoning.protocol import Protocol
from virc.reasoning.session import Reply, Session
from virc.solving.strategies.tree import branch
from virc.tools.registry import known


def test_branches_share_their_past_and_nothing_that_changes(own: Protocol) -> None:
    trunk = Session(own, "q", [Image.new("RGB", (112, 84), "white")], tools=known())
    trunk.feed(Reply(CROP))
    before = trunk.trace()
    one, other = branch(trunk), branch(trunk)
    one.feed(Reply(answer("1")))
    other.feed(Reply(call("display_image", image_index=1)))
    other.feed(Reply("no tags"))
    assert trunk.trace() == before
    assert (one.trace().answer, len(one.images)) == ("1", 2)
    assert (other.trace().answer, len(other.images), len(other.trace().pending)) == (None, 3, 1)
    assert one.images[1] is other.images[1]


def test_nothing_that_can_be_changed_is_shared(own: Protocol) -> None:
    trunk = Session(own, "q", [Image.new("RGB", (112, 84), "white")], tools=known())
    other = vars(branch(trunk))
    for name, value in vars(trunk).items():
        fixed = isinstance(value, str | int | frozenset | tuple | Protocol) or value is None
        assert fixed or other[name] is not value, name
    mine, its = trunk.history, other["history"]
    assert isinstance(its, History)
    for name, value in vars(mine).items():
        if isinstance(value, list | dict) and name not in ("tools", "originals", "sizes"):
            assert vars(its)[name] is not value, name
