"""Counts with their nouns."""


def counted(count: int, noun: str) -> str:
    """Such as `1 memory`, `2,000 memories`, `0 texts`."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"
