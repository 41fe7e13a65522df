"""Fragments to batches to updates: the learner of the fast path."""
