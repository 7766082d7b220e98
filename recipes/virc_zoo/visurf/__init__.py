"""ViSurf: its rewards, its rows, and its stored replies, which are those of `virc_extras.token_weights`."""
