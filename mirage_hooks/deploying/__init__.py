"""From a push to what serves: what should run is worked out, what runs is asked, the difference is
made good; the gate, the rollback and the refusal, too. Knows all rooms below it; touches the state,
under its lock, and the host by the doors below it; only `notify` speaks to somebody else."""
