"""What people are told: refusals with a hint, and the lines that they see. Knows nothing of the
rest, and touches the terminal alone."""
