"""Where tasks run, how processes end together, and what all code shares: errors, whole files, checked types."""
