"""Which columns of a table are head, relation and tail: told, or found by their names."""

from collections.abc import Sequence

from kalm.graph.labelled import ReadOptions

# what people write over the columns of triples, in small letters
ROLES = {
    "head": ("head", "h", "subject", "subj", "s", "source", "src", "from", "head_entity", "start"),
    "relation": ("relation", "r", "rel", "predicate", "pred", "p", "property", "edge", "relationship", "type"),
    "tail": ("tail", "t", "object", "obj", "o", "target", "dst", "destination", "to", "tail_entity", "end"),
}
Places = tuple[int, int, int]


def check_columns(options: ReadOptions) -> None:
    """Raises:
    ValueError: `data.columns` cannot be what it says.
    """
    columns = options.columns
    if columns is None:
        return
    if len(columns) != 3 or len(set(columns)) != 3:
        raise ValueError(f"data.columns must be three columns, those of head, relation and tail, got {list(columns)}")
    if are_numbers(columns):
        if "0" in columns:
            raise ValueError(f"data.columns counts from 1, got {list(columns)}")
    elif options.header is False:
        raise ValueError(f"data.columns={list(columns)} are names, which data.header=false says are not there; "
                         "give numbers from 1")  # fmt: skip


def are_numbers(columns: Sequence[str]) -> bool:
    return all(column.isascii() and column.isdigit() for column in columns)


def names_columns(cells: Sequence[str], options: ReadOptions) -> bool:
    """Whether the first line of a file is a header."""
    if options.header is not None:
        return options.header
    if options.columns is not None and not are_numbers(options.columns):
        return True
    return names_roles(cells)


def names_roles(names: Sequence[str]) -> bool:
    """Whether there is one column each that is called after head, relation and tail."""
    return _by_role(names) is not None


def find_columns(names: Sequence[str] | None, width: int, options: ReadOptions, place: str) -> Places:
    """The places of head, relation and tail.

    Args:
        names: of the columns; None where the file does not name them.
        width: how many columns there are.
        options: may tell the columns.
        place: file and line, which messages begin with.

    Raises:
        ValueError: the columns that are told are not there, or some are left over and none are told.
    """
    told = options.columns
    if told is not None:
        if are_numbers(told):
            numbers = [int(column) - 1 for column in told]
            if max(numbers) >= width:
                raise ValueError(f"{place}{width} columns, and data.columns={list(told)} wants {max(numbers) + 1}")
            return numbers[0], numbers[1], numbers[2]
        cleaned = [name.strip() for name in names or ()]
        if missing := [column for column in told if column not in cleaned]:
            raise ValueError(f"{place}there is no column {missing[0]!r}, which data.columns names; the columns are "
                             f"{', '.join(cleaned)}")  # fmt: skip
        head, relation, tail = (cleaned.index(column) for column in told)
        return head, relation, tail
    if width != 3:
        found = _by_role(names or ())
        example = [(names or ())[i].strip() for i in found] if found else [1, 2, 3]
        shown = ", ".join(map(str, example))
        raise ValueError(f"{place}{width} columns, expected 3: head, relation, tail; say which are meant with "
                         f"data.columns=[{shown}]")  # fmt: skip
    return _by_role(names or ()) or (0, 1, 2)


def _by_role(names: Sequence[str]) -> Places | None:
    """The places of the columns, each of whose names says one role; None where a role has none or several."""
    cleaned = [name.strip().casefold().lstrip(":") for name in names]
    places = []
    for words in ROLES.values():
        found = [place for place, name in enumerate(cleaned) if name in words]
        if len(found) != 1:
            return None
        places += found
    return places[0], places[1], places[2]
