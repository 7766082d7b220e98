"""The page on remote tools has the fields of their files."""

import remote_page


def test_the_tables_are_those_of_the_classes() -> None:
    page = remote_page.page()
    assert page == remote_page.PAGE.read_text(encoding="utf-8"), "run: python tests/regenerate.py"
