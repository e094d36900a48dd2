"""Which memories a search or a listing wants, as SQL over `memories m`: every value is bound, none is spliced."""

from agentmem_cli.checks import JsonScalar
from agentmem_cli.memory import SearchFilter
from agentmem_cli.store.connection import Parameter


def conditions(wanted: SearchFilter | None) -> tuple[str, list[Parameter]]:
    """The condition, and what it binds."""
    if not wanted:
        return "TRUE", []
    parts: list[str] = []
    parameters: list[Parameter] = []
    for name in ("agent_id", "user_id", "run_id", "memory_type"):
        value = getattr(wanted.scope, name)
        if value is not None:
            parts.append(f"m.{name} = ?")
            parameters.append(value)
    for key, value in wanted.where.items():
        condition, bound = _typed_equal(value)
        parts.append(f"EXISTS (SELECT 1 FROM json_each(m.metadata) WHERE key = ? AND {condition})")
        parameters += [key, *bound]
    return " AND ".join(parts), parameters


def _typed_equal(value: JsonScalar) -> tuple[str, list[Parameter]]:
    if value is None or isinstance(value, bool):
        return "type = ?", ["null" if value is None else str(value).lower()]
    if isinstance(value, str):
        return "type = 'text' AND atom = ?", [value]
    # SQLite's own integers end at 63 bits; it reads longer ones in JSON as reals.
    return "type IN ('integer', 'real') AND atom = ?", [value if -(2**63) <= value < 2**63 else float(value)]
