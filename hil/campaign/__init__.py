"""What a campaign is: its file, its trials, what a trial can end in."""
