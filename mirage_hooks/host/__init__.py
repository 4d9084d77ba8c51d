"""The doors to this host: its programs, processes, interfaces, systemd and Xen. Knows plans
and taps as data, and neither git nor why it is asked; what changes the host is done here."""
