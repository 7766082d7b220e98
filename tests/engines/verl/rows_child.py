"""Runs in the engine's interpreter: rows of a parquet file."""

import json
import sys

import pyarrow.parquet as pq

print(json.dumps(pq.read_table(sys.argv[1]).to_pylist()))
