"""Published systems, one folder each, found by the entry point `virc.systems` as those of any installed package are.

A folder has what there is of a system:

    system.yaml                its models, chat protocol, data and stages
    field.yaml                 what it is as published, what it needs, and what of that is not here
    NAME.py                    a total of rewards, which any system may name
    _painting.py               what is painted on frames of its clips, see `painted_frames`
    judge.yaml                 the question of a total to its judge
    texts.yaml                 where the texts of its authors stand, and our own words in their place
    rows.py                    what layouts read of its rows
    tools/NAME.py              a tool of its own
    pipeline.py                the function of `virc solve --pipeline`
    operators/NAME.py          an operator of `virc data make`
    NAME.layout.yaml           a layout of rows that files may have without the system being named
    teacher.yaml               what teachers are asked for its rows, for `virc data make teacher`

Results of their own programs, which tests compare with ours, are in `tests/zoo/cases`.
"""
