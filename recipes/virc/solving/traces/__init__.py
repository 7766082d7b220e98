"""The trace of a problem as a folder and as a page, and the page that lists those of several samples."""
