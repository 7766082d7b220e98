"""Environments with gymnasium's interface as tools: a call is an action, its result what is seen then."""
