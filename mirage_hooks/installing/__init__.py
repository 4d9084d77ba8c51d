"""Into a deployment repository and out again: hooks, cron line, mirage.yml, adoption, diet."""
