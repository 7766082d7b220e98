"""Published benchmarks of clips and documents; each file is one."""
