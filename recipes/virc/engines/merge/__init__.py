"""The processes that merge weights."""
