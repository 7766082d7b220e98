"""What a model name means, the chat protocol it was trained with, and the models in the package."""
