"""An OpenAI-compatible endpoint that runs the whole loop: to its clients, a model that looks is a plain one."""
