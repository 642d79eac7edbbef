"""The compiled kernels: built once a machine where there is a compiler, else absent."""

from __future__ import annotations
