"""How `tiny` is made from nothing: architecture, tokenizer, curriculum and training loop, in plain torch."""
