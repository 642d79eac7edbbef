"""A bundle over HTTP in the shapes of OpenAI's API, without torch."""

from __future__ import annotations
