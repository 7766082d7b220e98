"""What reads the frames of clips and the pages of PDFs, in the process of `worker` alone."""
