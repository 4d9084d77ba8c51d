"""From one release to the next: start, prove, switch, drain, end."""
