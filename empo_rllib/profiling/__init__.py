"""Where the time of an experiment goes, and what would make it faster."""
