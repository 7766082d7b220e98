"""The checks of `virc data check`, and of rows before training: `run` for files, `row` for one row."""
