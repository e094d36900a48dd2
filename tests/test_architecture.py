"""The shape of the package: imports go one way, each library has its place, and what isn't needed isn't loaded."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = "agentmem_cli"
ROOT: Final = Path(__file__).parents[1] / PACKAGE
# A module imports its own room and those further down; rooms of one line know nothing of each other.
LAYERS: Final = (
    {"__main__"},
    {"cli"},
    {"report"},
    {"bench", "integrations"},
    {"async_api"},
    {"api"},
    {"search", "ingest"},
    {"store", "embedding"},
    {"records", "support"},
    {"errors", "_version"},
)
LAYER: Final = {room: -depth for depth, rooms in enumerate(LAYERS) for room in rooms}
ELSEWHERE: Final = {"__init__", "guides"}  # the names that users import; Markdown
HOMES: Final = {
    "sqlite3": {"store/embedded/connection.py", "store/words.py", "bench/machine.py"},
    "ray": {"ingest/on_ray.py"},
    "psycopg": {"store/postgres/connection.py"},
    "hnswlib": {"store/embedded/graph.py"},
    "fastembed": {"embedding/hub.py"},
    "onnxruntime": {"embedding/onnx.py", "embedding/hub.py", "embedding/distill.py", "embedding/minilm_onnx.py"},
    "onnx": {"embedding/minilm_onnx.py", "embedding/multilingual_onnx.py"},
    "nanotoken": {"embedding/tokens.py"},
    "safetensors": {"embedding/static_files.py"},
    "tokenizers": {"embedding/*"},
    "httpx": {"embedding/endpoint.py"},
    "rich": {
        "report/terminal.py",
        "report/store_tables.py",
        "report/evaluation_tables.py",
        "report/tables.py",
        "cli/*",
    },
    "msgspec": {"bench/*", "integrations/mcp.py"},
    "mcp": {"integrations/mcp.py"},
    "anyio": {"integrations/mcp.py"},
    "uvicorn": {"integrations/mcp.py"},
    "langgraph": {"integrations/langgraph.py"},
    "matplotlib": {"report/plots.py"},
    "pyarrow": {"records/formats/parquet.py"},
    "typer": {"cli/*"},
    "pickle": set(),
    "shelve": set(),
    "marshal": set(),
}
HOMES_OF_SQL: Final = {
    f"store/embedded/{name}.py"
    for name in (
        *("chunks", "connection", "database", "filters", "maintenance", "memories"),
        *("schema", "text_index", "vectors", "verify"),
    )
} | {
    "store/words.py",
    *(
        f"store/postgres/{name}.py"
        for name in ("filters", "jobs", "maintenance", "schema", "server", "snapshot", "store", "writing")
    ),
    "store/postgres/connection.py",
}
SQL: Final = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE FROM|PRAGMA|BEGIN|CREATE TABLE|CREATE INDEX|EXISTS)\b")
HEAVY: Final = (
    "numpy",
    "onnx",
    "onnxruntime",
    "fastembed",
    "tokenizers",
    "hnswlib",
    "psycopg",
    "ray",
    "httpx",
    "safetensors",
    "nanotoken",
    "msgspec",
    "matplotlib",
    "pyarrow",
    "pydantic",
    "mcp",
)


@dataclass(frozen=True)
class Import:
    """One imported module, and the name taken from it, if it is a `from` import."""

    module: str
    name: str | None = None

    @property
    def distribution(self) -> str:
        """The distribution's top name."""
        return self.module.partition(".")[0]

    @property
    def part(self) -> str | None:
        """The part of our package that it is of, None for others', empty for the package itself."""
        if self.distribution != PACKAGE:
            return None
        full = f"{self.module}.{self.name}" if self.module == PACKAGE and self.name in LAYER else self.module
        return full.split(".")[1] if "." in full else ""


@dataclass(frozen=True)
class Module:
    """One source file of the package."""

    path: str

    @property
    def part(self) -> str:
        """The folder of the package that it is in, or its own name."""
        return self.path.partition("/")[0].removesuffix(".py")

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse((ROOT / self.path).read_text(encoding="utf-8"))

    @cached_property
    def imports(self) -> list[Import]:
        """Everything it imports, at the top or further in, for types or for use."""
        return list(_imports(self.tree))

    @cached_property
    def calls(self) -> list[ast.Call]:
        """What it calls."""
        return [node for node in ast.walk(self.tree) if isinstance(node, ast.Call)]

    @cached_property
    def strings(self) -> list[str]:
        """Its strings, docstrings left out."""
        docs = {id(node.value) for node in ast.walk(self.tree) if isinstance(node, ast.Expr)}
        constants = (node for node in ast.walk(self.tree) if isinstance(node, ast.Constant) and id(node) not in docs)
        return [node.value for node in constants if isinstance(node.value, str)]


def _imports(tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (Import(node.module or "", alias.name) for alias in node.names)


def _opens_for_writing(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
    modes = [
        given.value
        for given in (*call.args, *(keyword.value for keyword in call.keywords))
        if isinstance(given, ast.Constant)
    ]
    writes = any(isinstance(mode, str) and set(mode) & set("wax+") for mode in modes)
    return name in ("write_bytes", "write_text") or (name == "open" and writes)


def _has_doc(node: "ast.Module | ast.ClassDef | ast.FunctionDef") -> bool:
    return ast.get_docstring(node) is not None


MODULES: Final = [Module(path.relative_to(ROOT).as_posix()) for path in sorted(ROOT.rglob("*.py"))]


def test_every_part_of_the_package_has_its_place() -> None:
    assert {module.part for module in MODULES} - ELSEWHERE == set(LAYER)


def test_imports_go_one_way() -> None:
    for module in MODULES:
        if module.part in ELSEWHERE:
            continue
        for imported in module.imports:
            if imported.part is not None and imported.part != module.part:
                assert LAYER[imported.part] < LAYER[module.part], imported


def test_the_store_is_used_through_its_seam_alone() -> None:
    for module in MODULES:
        if module.part != "store" and module.path != "cli/output_file.py":  # which must know a store's file from others
            used = {imported.module for imported in module.imports if imported.part == "store"}
            assert used <= {"agentmem_cli.store", "agentmem_cli.store.base"}, module.path


def test_each_library_is_imported_in_its_place() -> None:
    for module in MODULES:
        for imported in module.imports:
            homes = HOMES.get(imported.distribution)
            if homes is not None:
                assert {module.path, f"{module.part}/*"} & homes, imported


def test_sql_stands_in_the_database_alone() -> None:
    for module in MODULES:
        if module.path not in HOMES_OF_SQL:
            assert [text for text in module.strings if SQL.search(text)] == [], module.path


def test_commands_write_files_as_outputs_alone() -> None:
    for module in MODULES:
        if module.part in ("cli", "report") and module.path != "cli/output_file.py":
            opened = {ast.unparse(call) for call in module.calls if _opens_for_writing(call)}
            assert opened <= {"open(os.devnull, 'w')"}, module.path


def test_child_processes_have_one_way_to_start_python() -> None:
    for module in MODULES:
        if module.path != "support/processes.py":
            assert "sys.executable" not in ast.unparse(module.tree), module.path


def test_sql_is_recognised_where_it_stands() -> None:
    for path in HOMES_OF_SQL:
        assert any(SQL.search(text) for text in Module(path).strings)


def test_public_functions_and_classes_say_what_they_are() -> None:
    for module in MODULES:
        defined = [node for node in module.tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
        methods = [
            method
            for node in defined
            if isinstance(node, ast.ClassDef) and not node.bases and not node.name.startswith("_")
            for method in node.body
            if isinstance(method, ast.FunctionDef)
        ]
        silent = [node.name for node in [*defined, *methods] if not node.name.startswith("_") and not _has_doc(node)]
        assert silent == [], module.path


def test_a_module_begins_with_what_it_is_for() -> None:
    for module in MODULES:
        assert _has_doc(module.tree) or module.tree.body == [], module.path


@pytest.mark.parametrize(
    "path",
    [
        "errors.py",
        *(f"records/{name}.py" for name in ("values", "times", "filter", "memory", "keys", "compression", "lines")),
        "support/safe_text.py",
        "support/files.py",
        "support/processes.py",
    ],
)
def test_the_lowest_modules_need_the_standard_library_alone(path: str) -> None:
    libraries = {imported.distribution for imported in Module(path).imports} - {PACKAGE, "_typeshed"}
    assert libraries <= sys.stdlib_module_names


@pytest.mark.parametrize(
    "code",
    [
        "import agentmem_cli",
        "from agentmem_cli import Memory, AgentMemError",
        "import agentmem_cli.cli.main",
        "from agentmem_cli.cli.main import run; run(['--help'])",
        "from agentmem_cli.cli.main import run; run(['ingest', '--help'])",
        "from agentmem_cli.cli.main import run; run(['search', '--help'])",
        "from agentmem_cli.cli.main import run; run(['list', '--help'])",
        "from agentmem_cli.cli.main import run; run(['eval', '--help'])",
        "from agentmem_cli.cli.main import run; run(['bench', '--help'])",
        "from agentmem_cli.cli.main import run; run(['mcp', '--help'])",
        "from agentmem_cli.cli.main import run; run(['nonsense'])",
    ],
)
def test_nothing_heavy_loads_before_it_is_needed(code: str) -> None:
    script = f"{code}\nimport sys; print('LOADED', *sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    loaded = done.stdout.rpartition("LOADED ")[2].split()
    assert "agentmem_cli" in loaded, done.stderr
    assert set(loaded) & set(HEAVY) == set()


def test_the_api_loads_at_its_first_use() -> None:
    script = "import agentmem_cli, sys; agentmem_cli.AgentMem; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True, timeout=60) == "True\n"
