"""The Hugging Face hub: what its repositories hold, and their files, large ones by ranges that go on after a kill."""
