"""The rows of the table of actions, a place a file; `tui.bindings` puts them together."""
