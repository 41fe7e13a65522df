"""The package's own feed-forward networks as compiled loops, for training and acting on a CPU."""
