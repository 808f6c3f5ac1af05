"""What to make of a fit: thresholds and plots."""
