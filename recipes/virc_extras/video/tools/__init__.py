"""Tools that look into a clip or document again: what they show has its place, as in the first view."""
