"""The doors to this host: its programs, processes, interfaces, systemd and Xen."""
