"""The web: what is fetched from an address, and pages that are written."""
