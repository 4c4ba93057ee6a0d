"""Files, locks, processes, progress: what every other room stands on."""
