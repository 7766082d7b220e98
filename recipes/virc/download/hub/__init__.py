"""The Hugging Face hub and GitHub: what repositories hold, and their files, large ones by ranges that survive a kill.

What they refuse is a ConfigError, a host that is down or answers garbage a NetworkError, a name or content that would
do harm or is in the way a DataError, a full disk a SetupError.
"""
