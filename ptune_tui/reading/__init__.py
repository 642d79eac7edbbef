"""Data files of every kind as a stream of records, and records as rows. Torch-free.

A record is what the file holds: named fields. A row is what is trained on: a prompt and a
response. `records.iter_records` reads, `mapping.recognise` says which fields make a row.
"""

from __future__ import annotations
