"""Pictures of the metrics of runs, and in what runs differ: `virc runs plot` and `virc runs compare`."""
