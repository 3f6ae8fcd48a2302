"""The configuration stage, run on made-up programs."""

from stages.configuration import stage as configuration

LAYOUT = "layout:xla:random"


def run_configuration(path, **parameters):
    """What the stage returns of PATH/npz_all and PATH/data, by default of the program that it chooses itself."""
    paths = {"root": str(path / "npz_all"), "data": str(path / "data")}
    return configuration.run(**{"collection": LAYOUT, "program": None} | paths | parameters)
