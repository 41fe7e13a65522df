"""`python -m empo_rllib` runs `empo_rllib.cli`."""

from __future__ import annotations

from empo_rllib.cli import main

main()
