"""See it work: a site, a hub and a host in one temporary folder. Uses the installer and the
commands as a person does, and touches that folder alone."""
