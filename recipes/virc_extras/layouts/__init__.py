"""The layout that rows of others show by themselves, taken by commands and proposed by `virc data layout`."""
