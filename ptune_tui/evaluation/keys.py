"""The contenders of an evaluation, by key."""

from __future__ import annotations

from typing import Literal

ContenderKey = Literal["base", "instruction", "few_shot", "tuned", "bundle", "lora"]
