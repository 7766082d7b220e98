"""Systems, one YAML each, and the catalog of published ones."""
