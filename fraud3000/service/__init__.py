"""The scorer over HTTP, with a memory that outlives it."""
