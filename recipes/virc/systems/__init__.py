"""Systems, one YAML each, and the published ones that there are."""
