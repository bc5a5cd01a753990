"""Settings are read from an environment that is passed in."""

from __future__ import annotations

import pytest

from contract.clocks import USUAL
from contract.errors import SettingsError
from contract.settings import Settings


def test_all_patience_of_a_fleet_is_counted_in_heartbeats() -> None:
    clocks = Settings.from_env({"PIFLEET_HEARTBEAT_S": "0.5"}).clocks
    assert (clocks.silence_s, clocks.grace_s) == (2.0, 1.5)
    assert Settings.from_env({}).clocks == USUAL


@pytest.mark.parametrize("value", ["0", "-1", "inf", "often"])
def test_heartbeat_that_never_comes_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="PIFLEET_HEARTBEAT_S"):
        Settings.from_env({"PIFLEET_HEARTBEAT_S": value})
