"""Layouts of a user's own program: searched with the trained models as the judge, compiled where they promise most."""
