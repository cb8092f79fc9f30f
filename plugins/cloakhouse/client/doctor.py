"""`cloakhouse doctor`: is everything reachable, and as safely as the platform demands?"""

from __future__ import annotations

import click

from cloakhouse.client import show
from cloakhouse.client.options import output_option
from cloakhouse.client.show import Heading
from cloakhouse.errors import KeyServiceError

FINDINGS = (
    Heading("what", whole=True),
    Heading("endpoint"),
    Heading("protocol", "negotiated", whole=True),
    Heading("detail"),
    Heading("ok"),
)


@click.command()
@output_option
@click.pass_context
def doctor(ctx: click.Context, output: str) -> None:
    """Check connections, key service and file modes.

    It connects to everything that is configured and shows what was negotiated. Exit code 6 if something is wrong.
    """
    from cloakhouse.settings import Settings
    from cloakhouse.stages.connections import examine

    found = examine(Settings.from_environment())
    if output == "json":
        show.write_json([finding.as_dict() for finding in found])
    else:
        show.write_table(FINDINGS, [finding.as_dict() for finding in found])
        for finding in found:
            if not finding.ok:
                show.note(f"{finding.what}: {finding.remedy}")
    if not all(finding.ok for finding in found):
        ctx.exit(KeyServiceError.exit_code)
