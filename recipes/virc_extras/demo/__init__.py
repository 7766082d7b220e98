"""`virc demo`: the whole reproduction with the embedded model."""
