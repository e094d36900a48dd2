"""The names of the formats."""

from typing import Final, Literal, TypeAlias, get_args

QueryFormatName: TypeAlias = Literal["locomo", "realtalk", "longmemeval", "longmemeval-sessions"]
FormatName: TypeAlias = Literal[
    "jsonl",
    "json",
    "csv",
    "tsv",
    "parquet",
    "mem0",
    "chat",
    "langchain",
    "chatgpt",
    "claude",
    "claude-code",
    "locomo",
    "realtalk",
    "longmemeval",
    "longmemeval-sessions",
]
FORMAT_NAMES: Final[tuple[FormatName, ...]] = get_args(FormatName)
