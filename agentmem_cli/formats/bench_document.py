"""What a benchmark measured -> the report of it: its header, its tables in their order, its warnings, its glossary."""

from collections.abc import Iterator, Mapping

from agentmem_cli.bench.figures import Figures
from agentmem_cli.bench.result import BenchResult, BenchWarning, ModelResult
from agentmem_cli.bench.workload import PHASE4
from agentmem_cli.formats import model_tables, seed_tables, several_models
from agentmem_cli.formats.document import Document, Facts, Table
from agentmem_cli.formats.gate_document import bounds_table
from agentmem_cli.formats.measured import Measured
from agentmem_cli.formats.wording import TEXTS, Words
from agentmem_cli.support.statistics import median


def bench_document(measured: Measured, words: Words) -> Document:
    """The report of a benchmark, and what a gate says of it, in the words of a language."""
    result, models = measured.result, measured.models
    is_one = len(models) == 1
    tables = _of_one(*models[0], words) if is_one else several_models.tables(models, words)
    return Document(
        lang=words.lang,
        title=words("title", _workload_title(result, words)),
        header=[(what, how) for what, how in _header(result, words) if how],
        tables=tables,
        verdicts=[
            *(seed_tables.verdicts(models[0][1], words) if is_one else []),
            *([bounds_table(measured.verdicts, words)] if measured.verdicts else []),
        ],
        warnings=[_warning(warning, words) for warning in result.warnings],
        glossary=_glossary([figures for _, figures in models], words),
    )


def _of_one(measured: ModelResult, figures: Figures, words: Words) -> list[Table]:
    return [*seed_tables.tables(figures, words), *model_tables.tables(measured, figures, words)]


def _workload_title(result: BenchResult, words: Words) -> str:
    name = result.workload.name
    if name == PHASE4 and words.lang == "zh":
        return "Phase 4"  # as the seed's report has it
    return f"agentmem: {name}" if words.lang == "en" else name


def _header(result: BenchResult, words: Words) -> Facts:
    environment, config = result.environment, result.config
    memory = "" if environment.memory_bytes is None else words("machine.memory", environment.memory_bytes / 2**30)
    machine = (environment.cpu, environment.cores, memory, environment.platform, environment.python)
    models = ", ".join(f"{m.model.name} ({m.model.revision[:12]})" for m in result.models)
    threads = "" if config.threads is None else words("workload.threads", config.device, config.threads)
    workload = words("workload", result.workload.name, result.workload.memories)
    return [
        (words("header.date"), _date(result.started_at)),
        (words("header.tool"), f"agentmem {environment.agentmem} · {models}"),
        (words("header.machine"), words("machine", *machine)),
        (words("header.versions"), ", ".join(f"{name} {version}" for name, version in environment.versions.items())),
        (words("header.workload"), workload + threads),
        (words("header.method"), words("method", config.repeats, config.warmup)),
        (words("header.ceiling"), _ceiling(result, words)),
        (words("header.interrupted"), "" if result.complete else words("interrupted")),
    ]


def _date(started_at: str | None) -> str:
    """The day and the minute of it, as far as it is a time at all."""
    return "" if started_at is None else started_at[:16].replace("T", " ") + started_at[19:].replace("+00:00", " UTC")


def _ceiling(result: BenchResult, words: Words) -> str:
    machine = result.machine
    if not machine.sgemm_flop_per_s or not machine.fsync_s:
        return ""
    fsyncs_s = [spent_s for repeat in machine.fsync_s for spent_s in repeat]
    return words("ceiling", max(machine.sgemm_flop_per_s) / 1e9, 1 / median(fsyncs_s))


def _warning(warning: BenchWarning, words: Words) -> str:
    """English has the warning's own sentence; so has a kind, or a figure, that the other language doesn't know."""
    key = f"warning.{warning.kind}"
    template = TEXTS[key][1] if key in TEXTS and words.lang == "zh" else ""
    try:
        return template.format_map({"model": warning.model, **_data(warning.data)}) or warning.message
    except (KeyError, ValueError):
        return warning.message


def _data(data: Mapping[str, float | str | list[float]]) -> dict[str, float | str]:
    return {
        name: ", ".join(f"{number:g}" for number in value) if isinstance(value, list) else value
        for name, value in data.items()
    }


def _glossary(measured: list[Figures], words: Words) -> Facts:
    """The terms that the tables of these figures have."""
    return [(words(f"term.{term}"), words(f"mean.{term}")) for term in _terms(measured)]


def _terms(measured: list[Figures]) -> Iterator[str]:
    is_one = len(measured) == 1
    stores = [store for figures in measured for store in figures.stores]
    has = {
        "batch": any(figures.batches for figures in measured),
        "total": any(figures.batches for figures in measured),
        "interval": True,
        "target": is_one and bool(measured[0].batches),
        "stages": is_one and any(batch.stages_ms for batch in measured[0].batches),
        "speedup": any(figures.comparison for figures in measured),
        "quantiles": bool(stores) or any(figures.add for figures in measured),
        "recall": any(store.graph_recall_at_10 is not None for store in stores),
        "ceiling": is_one and measured[0].ceiling_ratio is not None,
        "cold": any(figures.cold_start_ms is not None for figures in measured),
        "peak": bool(stores),
        "bytes": bool(stores),
        "cosine": any(figures.likeness for figures in measured),
        "retrieval": any(figures.retrieval for figures in measured),
    }
    return (term for term, is_there in has.items() if is_there)
