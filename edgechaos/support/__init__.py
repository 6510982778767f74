"""What every package stands on and no network is in: errors, files, settings, extras, statistics, names for people."""
