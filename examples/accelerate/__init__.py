"""Scripts on plain RLlib that `empo_rllib.accelerate` makes faster."""
