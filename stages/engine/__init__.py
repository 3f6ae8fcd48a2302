"""Where tasks run, and how processes end together."""
