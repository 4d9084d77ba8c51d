"""Into a deployment repository and out again: hooks, cron lines, mirage.yml, adoption, diet; and
what the host lacks for it. Knows what a deployment will ask for; touches the hooks folder, the
crontab, mirage.yml, git's configuration and packs, and starts no unikernel."""
