"""A service on Amazon ECS: what runs of it, a new deployment, the way back, and one task beside it."""
