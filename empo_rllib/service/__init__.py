"""Experiments as jobs of a Ray cluster: submit, list, follow and stop them."""
