"""Tables as Markdown."""

from collections.abc import Collection, Sequence


def markdown_table(header: Sequence[str], lines: Sequence[Sequence[str]], left: Collection[str]) -> str:
    """A table that is readable as it stands; columns other than `left` are aligned to the right."""
    cells = [[cell.replace("|", "\\|") for cell in line] for line in (header, *lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    is_left = [name in left for name in header]
    rule = [":" + "-" * (width + 1) if is_left[i] else "-" * (width + 1) + ":" for i, width in enumerate(widths)]
    padded = [
        [
            f" {cell.ljust(width) if is_left[i] else cell.rjust(width)} "
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in cells
    ]
    return "".join(f"|{'|'.join(line)}|\n" for line in (padded[0], rule, *padded[1:]))
