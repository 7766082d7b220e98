"""Published systems, one folder each, found by the entry point `virc.systems` as those of any installed package are.

docs/zoo.md says what is in a folder. Results of their own programs, which ours are tested by, are in `tests/zoo/cases`.
"""
