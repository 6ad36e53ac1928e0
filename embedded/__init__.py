"""What the demo and the tests bring along: PostgreSQL, Redis, all processes side by side."""
