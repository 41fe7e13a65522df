"""Reading run folders: evaluation, recordings, statistics."""
