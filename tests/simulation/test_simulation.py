"""Seeds of the simulation, spread over the processes of a test run, and what the simulator is."""

from __future__ import annotations

import pytest

from tests.simulation.job import simulate

BLOCKS = 10
SEEDS = 80  # a block; under 20 s where a core is shared
# Of the seeds beyond, those that found a flaw: Redis went away while the stream, the model and the
# deliveries were made anew; and while the model was put there for a worker that had refused it.
FOUND = (1_000_486, 1_005_043, 1_014_066, 1_029_916)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_no_fault_breaks_an_invariant(block: int) -> None:
    broken = [
        f"seed {seed}: {violation}"
        for seed in range(block * SEEDS, (block + 1) * SEEDS)
        for violation in simulate(seed).violations
    ]
    if broken:
        seed = broken[0].partition(":")[0].removeprefix("seed ")
        trace = simulate(int(seed), verbose=True).trace
        replay = f"python -m tests.simulation --seed {seed} --verbose"
        pytest.fail("\n".join([*broken, *trace, f"replay it with: {replay}"]))


@pytest.mark.parametrize("seed", FOUND)
def test_flaw_that_a_seed_found_stays_mended(seed: int) -> None:
    assert simulate(seed).violations == []


def test_seed_gives_the_same_world_each_time() -> None:
    first, second = (simulate(7, verbose=True) for _ in range(2))
    assert first == second
    assert first.faults.total() > 0
