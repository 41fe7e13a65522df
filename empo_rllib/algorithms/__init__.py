"""From an experiment to RLlib's AlgorithmConfig: policies, parameters, callbacks."""
