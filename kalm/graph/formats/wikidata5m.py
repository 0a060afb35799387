"""The folder that Wikidata5M's archives unpack to."""

from collections.abc import Iterator
from pathlib import Path

from kalm.graph.account import Fault
from kalm.graph.building import GraphBuilder, TextKind
from kalm.graph.files import find_file, read_blocks, require_file
from kalm.graph.formats.delimited import FORMATS, read_tsv
from kalm.graph.formats.folder import find_split, read_splits
from kalm.graph.formats.format import FolderLayout
from kalm.graph.knowledge_graph import SPLITS

ENTITIES = "wikidata5m_entity.txt"
KINDS: dict[str, TextKind] = {
    "wikidata5m_relation.txt": "relation_names",
    ENTITIES: "entity_names",
    "wikidata5m_text.txt": "entity_descriptions",
}


def read_wikidata5m(folder: Path, builder: GraphBuilder) -> None:
    """Add triples, the first alias of each entity and relation as its name, and the entities' texts.

    The splits are `train.txt` and so on, as SimKGC calls them, else `wikidata5m_transductive_train.txt` and so on.

    Raises:
        ValueError: a file is missing, or more lines are bad than may be.
    """
    if find_split(folder, "train", FORMATS):
        read_splits(folder, builder, FORMATS)
    else:
        for split in SPLITS:
            read_tsv(require_file(folder, f"wikidata5m_transductive_{split}.txt"), split, builder)
    for name, kind in KINDS.items():
        for labels, texts in _first_texts(require_file(folder, name), builder):
            builder.add_texts(kind, labels, texts)


def _first_texts(path: Path, builder: GraphBuilder) -> Iterator[tuple[list[str], list[str]]]:
    """Id and first text of each line, block by block; further columns are aliases, of which some have hundreds."""
    account = builder.ledger.open(path)
    for block in read_blocks(path, account):
        labels, texts = [], []
        for number, line in block.numbered_lines():
            if not line.strip():
                account.blank += 1
                continue
            start, tab, rest = line.partition(b"\t")
            try:
                label, text = start.decode("utf-8"), rest.partition(b"\t")[0].decode("utf-8")
            except UnicodeDecodeError as error:
                account.refuse(Fault(number, f"not UTF-8 text ({error.reason})", "mend the line"))
                continue
            if not tab:
                account.refuse(Fault(number, "no tab, expected id and text", "separate the columns by one tab each"))
            elif not label.strip() or "\0" in label:
                account.refuse(Fault(number, "an empty id, or a NUL byte in it", "mend the line"))
            else:
                account.read += 1
                labels.append(label)
                texts.append(text)
        yield labels, texts


LAYOUT = FolderLayout(
    "wikidata5m",
    f"train or wikidata5m_transductive_train and so on (.txt), {', '.join(KINDS)}",
    lambda folder: find_file(folder, ENTITIES) is not None,
    read_wikidata5m,
)
