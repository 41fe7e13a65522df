"""Environments and networks of one's own, to start from. Each has a YAML file of the same name."""
