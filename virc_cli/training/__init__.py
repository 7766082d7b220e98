"""`virc train`: begins a run, starts attempts at it and looks after them."""
