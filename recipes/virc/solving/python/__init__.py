"""`virc.solve`, `virc.batch` and their forms for asyncio: their arguments and threads."""
