"""MPCC: its reward, its rows, which `virc_extras.make` covers, and stored replies of `virc_extras.token_weights`."""
