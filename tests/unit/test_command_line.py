"""What the commands check before they begin."""

from __future__ import annotations

import resource

import pytest

from empo_rllib.command_line import check_address_space
from empo_rllib.errors import ConfigError


@pytest.mark.parametrize("gigabytes", [1, 15])
def test_too_little_address_space_to_train_is_refused_with_what_to_type(monkeypatch, gigabytes):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (gigabytes * 10**9, -1))
    with pytest.raises(ConfigError, match=r"ulimit -v is [\d,]+ kB.*Type: ulimit -v unlimited"):
        check_address_space()


@pytest.mark.parametrize("limit", [16 * 10**9, resource.RLIM_INFINITY])
def test_enough_address_space_is_enough(monkeypatch, limit):
    monkeypatch.setattr(resource, "getrlimit", lambda what: (limit, -1))
    check_address_space()
