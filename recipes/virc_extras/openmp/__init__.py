"""Runs llama.cpp on Linux without the system's libgomp, which the wheel of xllamacpp needs and does not have."""
