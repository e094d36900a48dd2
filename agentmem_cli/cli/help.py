"""The `--help` of all commands: their options in panels."""

from itertools import chain
from typing import TYPE_CHECKING, Final

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:  # the types of Typer's own methods
    from typer._click.core import Command as AnyCommand
    from typer._click.core import Context
    from typer._click.formatting import HelpFormatter

OTHERS: Final = "Options"
# The options of each panel, by the names of their parameters; those in no panel are the others.
PANELS: Final = {
    "Input": "format text_field include type_map importance_scale batch_size flush_interval on_error rejects "
    "max_line_bytes max_expansion dry_run queries workload repeats_of_text",
    "Fields": "identity text importance created_at speaker metadata expires_at ttl clear replace chunk chunk_tokens",
    "Scope and filters": "agent_id user_id run_id memory_type where since until expired",
    "Ranking": "mode modes context dedupe recency_half_life importance_weight neighbour_share min_score now",
    "Measurements": "sizes models singles repeats warmup scale clients processes ef advise server_latency against base "
    "head rounds",
    "Gate": "min_ops max_ms min_speedup min_recall strict max_time minimum max_loss max_regression force",
    "Store": "store wait wait_index repair yes read_only",
    "Model": "model model_path embedder_url threads device on workers",
    "Output": "limit offset by worst explain json jsonl ids output vectors lang skip_damaged phase_names "
    "github_summary junit http progress quiet",
}
_PANEL_OF: Final = {name: panel for panel, names in PANELS.items() for name in names.split()}
_PLAIN_TYPES: Final = {" <int range>": " <int>", " <float range>": " <float>"}  # the range itself is in the help


class Command(TyperCommand):
    """A command whose options are in panels."""

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Writes the arguments and the options."""
        _write_panels(self, ctx, formatter)


class Group(TyperGroup):
    """A command with sub-commands, whose options are in panels."""

    def format_options(self, ctx: "Context", formatter: "HelpFormatter") -> None:
        """Writes the arguments, the options and the sub-commands."""
        _write_panels(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _write_panels(command: "AnyCommand", ctx: "Context", formatter: "HelpFormatter") -> None:
    rows: dict[str, list[tuple[str, str]]] = {name: [] for name in chain(("Arguments",), PANELS, (OTHERS,))}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            is_argument = parameter.param_type_name == "argument"
            panel = "Arguments" if is_argument else _PANEL_OF.get(parameter.name or "", OTHERS)
            rows[panel].append((_plain(record[0]), record[1]))
    for name, records in rows.items():
        if records:
            with formatter.section(name):
                formatter.write_dl(records)


def _plain(names: str) -> str:
    for typed, plain in _PLAIN_TYPES.items():
        names = names.replace(typed, plain)
    return names
