"""See it work: a site, a hub and a host in one temporary folder."""
