"""What this host knows of a deployment: its state folder, and whose word is believed. Knows
mirage.yml's types, and touches the state folder alone. What the hooks' fast path needs of it is of
the standard library."""
