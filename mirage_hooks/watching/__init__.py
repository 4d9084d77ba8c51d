"""Asks what serves for as long as it serves, and says what to do about a silence. It changes
nothing itself: a command of its own does, with the lock, as for a person."""
