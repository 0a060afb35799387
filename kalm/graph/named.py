"""Data sets that are known by name: who reads them, and where their files come from."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kalm.graph.building import GraphBuilder
from kalm.graph.download import RemoteFile, download
from kalm.graph.formats.codex import read_codex
from kalm.graph.formats.delimited import FORMATS
from kalm.graph.formats.folder import read_splits
from kalm.graph.formats.simkgc import read_freebase, read_wordnet
from kalm.graph.formats.wikidata5m import KINDS, read_wikidata5m
from kalm.graph.texts import read_entity_texts, read_relation_texts

SIMKGC = "https://raw.githubusercontent.com/intfloat/SimKGC/97cc43e488f19ca5b0f6fbf60ffefd2ee56c0693/data"
KG_BERT = "https://raw.githubusercontent.com/yao8839836/kg-bert/0b8f625108efcb9b43603b6840f2548ff3d3c973/data"
STAR = "https://raw.githubusercontent.com/wangbo9719/StAR_KGC/a42a82c4a3510110e434611191b922ee0613495f/StAR/data"
KEALLM = "https://raw.githubusercontent.com/vaijsc/keallm/cf68f911e2484809bf5b0da413ba3d9768a747b7/data"
TSAFAVI = "https://github.com/tsafavi/codex (its folder data)"
CODEX = {"codex_s": "codex-s", "codex_m": "codex-m"}  # source -> folder of its triples


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedDataSet:
    """One data set.

    Args:
        read: adds triples and texts of its folder.
        files: that the folder holds, for messages.
        remote: where each is and its digest; empty where no digest is known, so that nothing is downloaded.
        origin: where people find the files, for messages.
        in_pykeen: whether pykeen ships it.
    """

    read: Callable[[Path, GraphBuilder], None]
    files: str
    remote: tuple[RemoteFile, ...] = ()
    origin: str = ""
    in_pykeen: bool = False


def _read_plain(folder: Path, builder: GraphBuilder) -> None:
    read_splits(folder, builder, FORMATS)
    read_entity_texts(folder, builder)
    read_relation_texts(folder, builder)


PLAIN = "train.txt, valid.txt and test.txt"
_embedded = NamedDataSet(read=_read_plain, files=PLAIN, in_pykeen=True)
NAMED = {
    "umls": _embedded,
    "nations": _embedded,
    "kinships": _embedded,
    "wn18rr": NamedDataSet(
        read=read_wordnet,
        files=f"{PLAIN}, wordnet-mlj12-definitions.txt and, if you have it, relation2text.txt",
        remote=(
            RemoteFile("train.txt", f"{SIMKGC}/WN18RR/train.txt",
                       "038612e783c215ee5f3ca9fbfca27b8d0739be1028fe4ee7c174aecf0b83d5df"),
            RemoteFile("valid.txt", f"{SIMKGC}/WN18RR/valid.txt",
                       "453ce7202afa58094a04d2b1560ee2b02660f1c260b32ce6651c8ccedd1028ab"),
            RemoteFile("test.txt", f"{SIMKGC}/WN18RR/test.txt",
                       "0383bceaaa1096cf3c03ec021ed0048068e2355dbfc0239b292cefdac821cec5"),
            RemoteFile("wordnet-mlj12-definitions.txt", f"{SIMKGC}/WN18RR/wordnet-mlj12-definitions.txt",
                       "4cb535c333a3c784bdb6a2a4fc0c96d99cdbb486d5200841bd055e6648454580"),
            RemoteFile("relation2text.txt", f"{KG_BERT}/WN18RR/relation2text.txt",
                       "91b1de5585d686ed31498d50f1c4eed44ba9486dffbbcc0c28927ac884184918"),
        ),
    ),
    "fb15k237": NamedDataSet(
        read=read_freebase,
        files=f"{PLAIN} (or .gz), FB15k_mid2name.txt, FB15k_mid2description.txt or fb-entity2text-new.txt and, if you "
              "have it, relation2text.txt",
        remote=(
            RemoteFile("train.txt", f"{SIMKGC}/FB15k237/train.txt",
                       "61099230e4439f90885ca9767739e31e8e32f54736fa1c35952b27997bc7c08a"),
            RemoteFile("valid.txt", f"{SIMKGC}/FB15k237/valid.txt",
                       "749cbe9d923bac7b9354da5614ecfed2e0220256d442c3e04a6b303db1f273d9"),
            RemoteFile("test.txt", f"{SIMKGC}/FB15k237/test.txt",
                       "e2e35e8e6113de220140b6f44dc71a5207b0fc6872d575e874aefe13259b655b"),
            RemoteFile("FB15k_mid2name.txt", f"{SIMKGC}/FB15k237/FB15k_mid2name.txt",
                       "4da94b8059a83bc7e08c832f573d34221d38e85030576e332a0d0e9726d13d73"),
            RemoteFile("fb-entity2text-new.txt", f"{STAR}/FB15k-237/fb-entity2text-new.txt",
                       "d982bb5b950820dabc00aee9870cae2035d48c169d10c9f2c225579e19528aa2"),
            RemoteFile("relation2text.txt", f"{KG_BERT}/FB15k-237/relation2text.txt",
                       "4bf7cb6ea0ac09b17ad210889f723be5e079669f6ae5d507787e1320bbaa0f72"),
        ),
    ),
    "metaqa": NamedDataSet(
        read=_read_plain,
        files="train.tsv, dev.tsv, test.tsv, entity2text.txt and relation2text.txt",
        remote=(
            RemoteFile("train.tsv", f"{KEALLM}/MetaQA/train.tsv",
                       "bcf6f2f0ad3828c3512371fba36b843f076f2e8895feaa1a521634c21642a06f"),
            RemoteFile("dev.tsv", f"{KEALLM}/MetaQA/dev.tsv",
                       "2d07c77274cfb714f9260734abce760891e35d29374f3a10f8f1bec6edae384d"),
            RemoteFile("test.tsv", f"{KEALLM}/MetaQA/test.tsv",
                       "79fa4ac686f8353d0bfdc40d9dcce7afd60997738aeaff611a31eac48c12289b"),
            RemoteFile("entity2text.txt", f"{KEALLM}/MetaQA/entity2text.txt",
                       "896b00f31a55569cc8adf534f3630f9709d77f58cd4dfe43314bf77701488c26"),
            RemoteFile("relation2text.txt", f"{KEALLM}/MetaQA/relation2text.txt",
                       "8fa46d08e2f0d98c703093f69261911d34c18df40ae7134ab76f2f338b2fe7e7"),
        ),
    ),
    "wikidata5m": NamedDataSet(
        read=read_wikidata5m,
        files=f"wikidata5m_transductive_train.txt (_valid, _test), {', '.join(KINDS)}",
        origin="https://deepgraphlearning.github.io/project/wikidata5m (its archives, unpacked)",
    ),
    **{
        source: NamedDataSet(
            read=partial(read_codex, name=name),
            files=f"triples/{name}/train.txt and so on, entities/en/entities.json and relations/en/relations.json",
            origin=TSAFAVI,
        )
        for source, name in CODEX.items()
    },
}  # fmt: skip


def find_data_set(source: str, cache: Path | None) -> Path:
    """The folder of a named data set that the user has not given one for: shipped by pykeen, or downloaded once.

    Args:
        source: a key of `NAMED`.
        cache: where downloads are kept; None downloads nothing.

    Raises:
        ValueError: its files are nowhere to be had; says which are needed.
    """
    data_set = NAMED[source]
    if data_set.in_pykeen:
        return _pykeen_folder(source)
    needed = f"set data.root to the folder that holds {data_set.files}"
    if not data_set.remote or cache is None:
        found = f", from {data_set.origin}" if data_set.origin else ""
        raise ValueError(f"data={source} needs its files{found}: {needed}")
    try:
        return download(data_set.remote, cache / "data" / source)
    except (ValueError, OSError) as error:
        raise ValueError(f"data={source} could not be downloaded ({error}); try again, or {needed}") from None


def _pykeen_folder(source: str) -> Path:
    """Pykeen is located, not imported: its import takes seconds and kalm needs the files only.

    Raises:
        ValueError: pykeen is not installed.
    """
    spec = importlib.util.find_spec("pykeen")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent / "datasets" / source
    if folder is None or not folder.is_dir():
        raise ValueError(f"data={source} is read from the package pykeen: pip install pykeen, or set data.root")
    return folder
