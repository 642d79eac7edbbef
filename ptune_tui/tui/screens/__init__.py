"""The app's places and its few modal questions."""

from __future__ import annotations
