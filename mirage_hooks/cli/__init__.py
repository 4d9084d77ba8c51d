"""The commands: what a person, cron and git's hooks call, and what they show."""
