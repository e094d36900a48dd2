"""`agentmem models`: the embedding models that can be named."""

from dataclasses import asdict

from agentmem_cli.cli import options
from agentmem_cli.cli.output import print_json, print_rich


def models(json: options.JsonOption = False) -> None:
    """List the embedding models: which are here, and where the others come from."""
    from agentmem_cli.embedding import catalog

    entries = catalog.entries()
    if json:
        print_json([asdict(entry) for entry in entries])
    else:
        from agentmem_cli.report import models_table

        print_rich(models_table(entries))
