"""PPO from fragments: advantages, minibatches, loss and gradients, as RLlib computes them."""
