"""The parts of the simulated world, in integers only, so that every platform makes the same bytes."""
