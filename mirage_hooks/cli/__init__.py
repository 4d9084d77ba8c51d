"""The commands: what a person, cron and git's hooks call, and what they are shown. Knows every room
and does nothing itself: touches the terminal, and runs the hook that was there before ours. Imports
a room when a command needs it, because the hooks' fast path pays for every import."""

import gc

# What is imported is no garbage: looking for some all the while takes a tenth of the time.
gc.set_threshold(100_000)
