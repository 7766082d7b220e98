"""The tool of ViLaSR."""
