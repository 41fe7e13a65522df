"""Running an experiment: trials, the run folder, stopping, resuming, progress."""
