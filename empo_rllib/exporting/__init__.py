"""Trained policies as bundles, which `empo_rllib.bundle` acts with."""
