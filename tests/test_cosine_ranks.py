"""Ranks by cosine against one query and one entity at a time in float64."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from kalm.config import Candidates, IndexKind, Protocol, Ties
from kalm.evaluation import cosine_ranks
from kalm.evaluation.cosine_ranks import rank_by_cosine
from kalm.evaluation.entity_index import EntityIndex
from kalm.evaluation.questions import Questions, split_questions
from kalm.graph.knowledge_graph import SPLITS, KnowledgeGraph
from kalm.training.port import free_port

CPU = torch.device("cpu")
WORKER = Path(__file__).with_name("ranking_worker.py")


def unit(num_rows: int, size: int, generator: torch.Generator) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(num_rows, size, generator=generator), dim=1)


def random_graph(num_entities: int, num_triples: int, generator: torch.Generator) -> KnowledgeGraph:
    labels = [str(i) for i in range(num_entities)]
    triples = torch.stack(
        [torch.randint(high, (num_triples,), generator=generator) for high in (num_entities, 2, num_entities)], dim=1
    ).numpy()
    parts = np.array_split(triples, 3)
    return KnowledgeGraph(
        entity_labels=labels, entity_names=labels, entity_descriptions=labels, relation_labels=["a", "b"],
        relation_names=["a", "b"], triples=dict(zip(SPLITS, parts, strict=True)), num_named=0,
    )  # fmt: skip


def one_at_a_time(vectors: torch.Tensor, queries: torch.Tensor, questions: Questions) -> list[list[int]]:
    """Optimistic and pessimistic rank and number of candidates of each query."""
    entities, asked = vectors.double().numpy(), queries.double().numpy()
    known = {tuple(t) for split in SPLITS for t in questions.graph.directed(split).tolist()}
    found = []
    for query, (head, relation, true) in zip(asked, questions.directed.tolist(), strict=True):
        rivals = [
            float(np.dot(query, entities[e]) - np.dot(query, entities[true]))
            for e in range(len(entities))
            if e != true
            and (head, relation, e) not in known
            and (questions.is_candidate is None or bool(questions.is_candidate[e]))
        ]
        better = sum(above > 1e-11 for above in rivals)
        equal = sum(abs(above) <= 1e-11 for above in rivals)
        found.append([1 + better, 1 + better + equal, 1 + len(rivals)])
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.integers(1, 40), st.sampled_from([1, 3, 24]), st.booleans(), st.booleans(),
    st.sampled_from([1, 7, 1024]), st.sampled_from([1, 5, 2**20]),
)  # fmt: skip
def test_ranks_equal_one_entity_at_a_time(seed, num_entities, size, restricted, close, queries_at_once, cached_scores):
    generator = torch.Generator().manual_seed(seed)
    graph = random_graph(num_entities, 24, generator)
    vectors = unit(num_entities, size, generator)
    if close:  # within rounding of each other, as after training on one text: float32 would order them at random
        vectors = torch.nn.functional.normalize(vectors[:1] + 1e-6 * vectors, dim=1)
    vectors[num_entities // 2] = vectors[0]  # equal texts
    is_candidate = torch.rand(num_entities, generator=generator) < 0.7 if restricted else None
    questions = Questions(graph, graph.directed("test"), SPLITS, is_candidate)
    queries = unit(len(questions), size, generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cosine_ranks, "QUERIES_AT_ONCE", queries_at_once)
        patch.setattr(cosine_ranks, "CACHED_SCORES", cached_scores)
        patch.setitem(cosine_ranks.PAIRS_AT_ONCE, "cpu", 3)
        ranks = rank_by_cosine(EntityIndex(vectors), queries, questions, 1, CPU)
    assert torch.stack([*ranks], dim=1).tolist() == one_at_a_time(vectors, queries, questions)


def test_the_setting_of_products_is_left_as_it_was():
    task = (EntityIndex(unit(4, 8, torch.Generator())), unit(12, 8, torch.Generator()))
    questions = Questions(random_graph(4, 18, torch.Generator()), np.zeros((12, 3), dtype=np.int64), SPLITS)
    for setting in (True, False):
        torch.backends.cuda.matmul.allow_tf32 = setting
        rank_by_cosine(*task, questions, 1, CPU)
        assert torch.backends.cuda.matmul.allow_tf32 is setting


def test_a_tile_stays_within_its_memory():
    for num_queries, memory_mib in ((1, 1), (1024, 1), (1024, 16)):
        width = cosine_ranks.tile_width(memory_mib, torch.device("cuda"), num_queries)
        assert 0 < width * num_queries * cosine_ranks.BYTES_PER_SCORE <= memory_mib * 2**20


def test_two_processes_rank_as_one_does(
    tmp_path, toy_graph, table, tokenizer, ranking, offline_environment, warm_python
):
    """Each holds the entities that it encoded; equal texts are with the same one."""
    questions = Questions(toy_graph, toy_graph.directed("train"), SPLITS)
    torch.save((make_encoder(tokenizer), table, questions, ranking), tmp_path / "task.pt")
    found = {}
    for num_workers in (1, 2):
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(num_workers)}
        workers = [
            warm_python.start([WORKER, tmp_path], environment={**offline_environment, **meeting, "RANK": str(rank)})
            for rank in range(num_workers)
        ]
        for worker in workers:
            result = worker.wait()
            assert result.returncode == 0, result.stderr
        found[num_workers] = [torch.load(tmp_path / f"found-{num_workers}-{rank}.pt") for rank in range(num_workers)]
    (alone,) = found[1]
    assert sum(worker["held"] for worker in found[2]) == toy_graph.num_entities
    for worker in found[2]:
        assert worker["fault"] == alone["fault"] == "a fault of the last process"
        assert worker["recall"] == 0, "one of them finds nothing"
    assert alone["recall"] >= 0.95
    for worker in found[2]:
        assert 0 < worker["held"] < toy_graph.num_entities
        for column, expected in zip(worker["ranks"], alone["ranks"], strict=True):
            assert torch.equal(column, expected)
        # batches of other sequences are padded otherwise, which moves last bits
        torch.testing.assert_close(worker["scores"], alone["scores"], rtol=0, atol=1e-5)
        torch.testing.assert_close(worker["vectors"], alone["vectors"], rtol=0, atol=1e-5)


def test_the_index_searches_what_is_ranked():
    generator = torch.Generator().manual_seed(0)
    vectors = unit(50, 8, generator)
    index = EntityIndex(vectors)
    torch.testing.assert_close(index.vectors, vectors, rtol=0, atol=0)
    scores, ids = index.search(vectors[:5].clone(), 10)
    dense = vectors[:5] @ vectors.T
    # FAISS and torch may round the last bit differently
    torch.testing.assert_close(dense.gather(1, ids), scores, rtol=0, atol=1e-6)
    torch.testing.assert_close(dense.topk(10).values, scores, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [IndexKind.ivf, IndexKind.hnsw])
def test_an_approximate_index_is_searched_until_it_finds_enough(kind):
    vectors = unit(2000, 16, torch.Generator().manual_seed(0))
    index = EntityIndex(vectors, kind)
    recall = index.tune()
    exact = EntityIndex(vectors).search(vectors[:300], 10)[1]
    found = index.search(vectors[:300], 10)[1]
    measured = (found[:, :, None] == exact[:, None]).any(1).float().mean()
    assert recall >= 0.95
    assert float(measured) == pytest.approx(recall, abs=0.05)


def test_a_product_quantizer_says_what_it_finds_and_needs_enough_to_learn_from():
    vectors = unit(10_000, 4, torch.Generator().manual_seed(0))
    index = EntityIndex(vectors, IndexKind.pq)
    assert 0 < index.tune() < 1
    assert index.search(vectors[:3], 5)[1].shape == (3, 5)
    with pytest.raises(ValueError, match="index=pq needs at least 256 entities"):
        EntityIndex(vectors[:255], IndexKind.pq)


def protocol(**changes) -> Protocol:
    settings = {"filter": list(SPLITS), "ties": Ties.realistic, "candidates": Candidates.all, "ask_unseen": True,
                "repeat_duplicates": True}  # fmt: skip
    return Protocol(**{**settings, **changes})


def test_the_protocol_chooses_what_is_asked(toy_graph):
    train, unseen = toy_graph.triples["train"], 9
    train = train[(train[:, [0, 2]] != unseen).all(axis=1)]
    seen = set(train[:, [0, 2]].ravel().tolist())
    test = np.concatenate([toy_graph.triples["test"], toy_graph.triples["test"][:1], [[unseen, 0, 1]]])
    graph = replace(toy_graph, triples={**toy_graph.triples, "train": train, "test": test})

    def asked(**changes):
        return split_questions(graph, "test", protocol(**changes))

    assert len(asked()) == 2 * len(test)
    assert len(asked(repeat_duplicates=False)) == 2 * (len(test) - 1)
    without_unseen = asked(ask_unseen=False)
    assert all({head, tail} <= seen for head, _, tail in without_unseen.directed.tolist())
    assert len(without_unseen) == 2 * sum({head, tail} <= seen for head, _, tail in test.tolist())
    assert asked(candidates=Candidates.train).is_candidate.nonzero().ravel().tolist() == sorted(seen)
    unseen_alone = replace(graph, triples={**graph.triples, "test": test[-1:]})
    with pytest.raises(ValueError, match=r"ask_unseen=false leaves no triple of test"):
        split_questions(unseen_alone, "test", protocol(ask_unseen=False))


def test_a_filter_without_test_does_not_look_at_test(toy_graph):
    generator = torch.Generator().manual_seed(0)
    vectors = unit(toy_graph.num_entities, 8, generator)
    directed = toy_graph.directed("valid")
    asked = unit(len(directed), 8, generator)

    def pessimistic(test_triples, filter_splits):
        graph = replace(toy_graph, triples={**toy_graph.triples, "test": test_triples})
        questions = Questions(graph, directed, filter_splits)
        return rank_by_cosine(EntityIndex(vectors), asked, questions, 1, CPU).pessimistic.tolist()

    # as if every entity answered every query: with test in the filter nothing is left to rank against
    head, relation, _ = toy_graph.triples["valid"].T
    everything = np.array([(h, r, t) for h, r in zip(head, relation, strict=True) for t in range(len(vectors))])
    assert pessimistic(everything, SPLITS)[::2] == [1] * len(head)
    blind = pessimistic(everything, ("train", "valid"))
    assert blind == pessimistic(toy_graph.triples["test"], ("train", "valid"))
    assert max(blind[::2]) > 1
