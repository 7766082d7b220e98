"""VPPO: its reward and its rows; the weights of its tokens are the extra `virc_extras.token_weights`."""
