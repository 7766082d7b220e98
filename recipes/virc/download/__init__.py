"""From the hub to a workspace."""
