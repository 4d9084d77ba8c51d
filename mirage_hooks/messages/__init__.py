"""What people are told: refusals with a hint, the lines that they see, and how far long work is.
Knows nothing of the rest, and touches the terminal alone."""
