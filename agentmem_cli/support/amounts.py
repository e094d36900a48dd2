"""Counts and sizes as people read them."""


def counted(count: int, noun: str) -> str:
    """Such as `1 memory`, `2,000 memories`, `0 texts`."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"


def sized(size_bytes: int) -> str:
    """Such as `512 bytes`, `1.5 kB`, `12 MB`."""
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.5:
            break
        size, unit = size / 1000, larger
    return f"{size:.1f} {unit}" if unit != "bytes" and size < 9.95 else f"{size:.0f} {unit}"
