"""What this host lacks for what mirage.yml wants, and how to get it."""
