"""`agentmem models` lists the embedding models; `models distill` makes a static model from another."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer

from agentmem_cli.cli import options
from agentmem_cli.cli.help import Command, Group
from agentmem_cli.cli.output import making_view, print_json, print_rich, say
from agentmem_cli.embedding.choice import ModelChoice
from agentmem_cli.errors import UsageError

app: Final = typer.Typer(rich_markup_mode=None, cls=Group)


@app.callback(invoke_without_command=True)
def models(context: typer.Context, json: options.JsonOption = False, quiet: options.QuietOption = False) -> None:
    """List the embedding models.

    The list says which models are on this machine and where the others come from.
    """
    if context.invoked_subcommand is not None:
        return
    from agentmem_cli.embedding.catalog import entries  # numpy, and fastembed for its list

    known = entries()
    if json:
        print_json([asdict(entry) for entry in known])
    else:
        from agentmem_cli.report.store_tables import models_table

        print_rich(models_table(known))


@app.command(cls=Command)
def distill(
    model: Annotated[str | None, typer.Argument(help="The model to distill, by name or alias.", metavar="NAME")] = None,
    model_path: options.ModelPathOption = None,
    dim: Annotated[int, typer.Option("--dim", min=1, help="Dimensions of the static model.")] = 256,
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit", metavar="FILE|STORE", help="Also fit it to these memories: a JSONL file, or a store's folder."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the new model; by default derived from NAME.")
    ] = None,
    json: options.JsonOption = False,
    quiet: options.QuietOption = False,
) -> None:
    """Make a static model from another model.

    A static model has one vector per token: it is hundreds of times faster, and close to the other model in meaning.
    Making it takes a minute or two. Its name then works as --model.
    """
    from agentmem_cli.embedding import catalog
    from agentmem_cli.ingest.sample import sample_texts

    source = ModelChoice(model, model_path)
    if not source.names_a_model:
        raise UsageError("distill needs NAME or --model-path: the model to distill, such as minilm")
    texts = [] if fit is None else sample_texts(Path(fit))
    with making_view(quiet) as on_progress:
        spec = catalog.distill(source, dim=dim, name=name, texts=texts, on_progress=on_progress)
    if json:
        print_json({"name": spec.name, "revision": spec.revision, "dim": spec.dim, "folder": spec.folder})
    elif not quiet:
        say(f"model {spec.name} (revision {spec.revision[:12]}, {spec.dim} dims) is in {spec.folder}")
