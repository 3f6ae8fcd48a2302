"""The configuration stage, run on made-up programs."""

from stages.configuration import stage as configuration

LAYOUT = "layout:xla:random"


def run_configuration(path, **parameters):
    """What the stage returns of PATH/data, by default of the program that it chooses itself."""
    return configuration.run(**{"collection": LAYOUT, "program": None, "data": str(path / "data")} | parameters)
