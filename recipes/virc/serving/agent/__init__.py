"""An OpenAI-compatible endpoint that runs the whole tool loop."""
