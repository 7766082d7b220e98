"""No model that nobody chose is trusted in silence (C1)."""

from virc_recipes.opened import DEMONSTRATION, Choice, open_model


def test_the_embedded_model_says_that_it_is_a_demonstration_unless_it_was_chosen() -> None:
    assert DEMONSTRATION in open_model(Choice(device="cpu")).warnings
    assert DEMONSTRATION not in open_model(Choice(model="tiny", device="cpu")).warnings
