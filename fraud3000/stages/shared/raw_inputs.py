"""Where `prepare` reads from and publishes to."""

from __future__ import annotations

from fraud3000.data.reading.raw_table import DataFile
from fraud3000.data.storage import locations
from fraud3000.data.storage.s3 import Address
from fraud3000.params import Params


def expand_workspace(location: str, params: Params) -> str:
    """Replace ``{workspace}`` in a location by the workspace of the params."""
    return location.replace("{workspace}", params.workspace)


def refuse_inputs(published: tuple[Address, ...], inputs: list[DataFile]) -> None:
    """Raise ParamsError if a file would be published over one of the inputs."""
    locations.refuse_inputs(published, locations.file_locations(inputs), hint="Set another prefix in prepare.publish.")
