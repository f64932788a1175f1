"""`lse metrics`: the archive in numbers, for Prometheus."""

from pathlib import Path
from typing import Annotated

import typer

from lse.cli.options import resources
from lse.cli.output import print_data


def metrics(
    textfile: Annotated[
        Path | None, typer.Option(help="Write to this file, for the node exporter; it is replaced at once.")
    ] = None,
) -> None:
    """Print the metrics of the archive in Prometheus' text format."""
    from lse.archive.files import write_atomically
    from lse.pipeline.metrics import metrics as measured

    with resources() as opened:
        text = measured(opened)
    if textfile is None:
        print_data(text)
    else:
        write_atomically(textfile, text.encode())
        textfile.chmod(0o644)  # the exporter is another user, and nothing in it is secret
