"""Asking a run: answers against a loop, new entities, and the command."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, make_encoder, write_toy_graph
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import assume, example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from toy_run import configured, make_run

from kalm.command_line import quoted
from kalm.config import PredictConfig
from kalm.evaluation.encoding import encode, encode_entities, encode_new_entities
from kalm.evaluation.loaded_run import load_run
from kalm.serving import predict as predict_module
from kalm.serving.answers import best_answers
from kalm.serving.new_entities import NewEntity, with_new_entities
from kalm.serving.predict import predict
from kalm.text.ragged import RaggedArray


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, template):
    place = tmp_path_factory.mktemp("asked")
    return make_run(place / "run", write_toy_graph(place / "toy"), make_encoder(tokenizer), tokenizer, template)


def asked(folder, **keys):
    return predict(configured(PredictConfig, "predict", run=str(folder), **keys))


def head_tokens(run, name, description=""):
    """The head segment of an entity that is in no table, cut as the template says."""
    parts = ((name, 8), (f", {description}" if description else "", 5), (";", None))
    ids = [run.tokenizer(text, add_special_tokens=False).input_ids[:limit] for text, limit in parts]
    return sum(ids, [] if run.tokenizer.bos_token_id is None else [run.tokenizer.bos_token_id])


def embedding_of(run, tokens, directed_relation=None):
    """An entity, or with a relation a query, encoded alone."""
    relation = [] if directed_relation is None else run.table.relations.take(np.array([directed_relation]))[0].tolist()
    return encode(run.encoder, RaggedArray.from_rows([tokens + relation]), 64)[0]


def tokens_of(run, label):
    return run.table.heads.take(np.array([run.graph.entity_labels.index(label)]))[0].tolist()


@given(st.permutations(range(6)), st.integers(1, 6))
def test_what_ties_is_answered_in_the_order_of_ids_whatever_its_last_bits(ids, k):
    scores = torch.tensor([[1.0, 0.5, 0.5 + 1e-14, 0.5 - 1e-14, 0.5, 0.1]], dtype=torch.float64)
    best = best_answers(scores, torch.tensor([ids]), k, tie=1e-11)
    assert best.ids.tolist() == [[ids[0], *sorted(ids[1:5]), ids[5]][:k]]
    assert best.ranks.tolist() == [[1, 3.5, 3.5, 3.5, 3.5, 6][:k]]


@given(st.lists(st.lists(st.integers(0, 3), min_size=5, max_size=5), min_size=1, max_size=4), st.integers(1, 7))
def test_answers_are_the_best_with_realistic_ranks(rows, k):
    ids = torch.randperm(5, generator=torch.Generator().manual_seed(k)).expand(len(rows), 5)
    best = best_answers(torch.tensor(rows, dtype=torch.float32), ids, k)
    for row, answers, scores, ranks in zip(rows, best.ids.tolist(), best.scores.tolist(), best.ranks.tolist(),
                                           strict=True):  # fmt: skip
        score_of = dict(zip(ids[0].tolist(), row, strict=True))
        assert answers == sorted(score_of, key=lambda i: (-score_of[i], i))[:k]
        for answer, score, rank in zip(answers, scores, ranks, strict=True):
            better = sum(s > score for s in row)
            assert (score, rank) == (score_of[answer], better + (sum(s == score for s in row) + 1) / 2)


@pytest.mark.parametrize("unknown", ["tail", "head"])
def test_entities_are_ranked_by_cosine(folder, unknown):
    run = load_run(folder)
    graph = run.graph
    anchor, relation = {"tail": ("bob", "likes"), "head": ("hen", "eats")}[unknown]
    (answer,) = asked(folder, relation=relation, k=4, **{"head" if unknown == "tail" else "tail": anchor})
    directed = graph.relation_labels.index(relation) + (unknown == "head") * graph.num_relations
    query = embedding_of(run, tokens_of(run, anchor), directed)
    expected = {label: float(query @ embedding_of(run, tokens_of(run, label))) for label in graph.entity_labels}
    assert answer["unknown"] == unknown
    scores = [found["score"] for found in answer["predictions"]]
    # other batches round the last bits differently
    assert scores == pytest.approx(sorted(expected.values(), reverse=True)[:4], abs=1e-5)
    assert scores == pytest.approx([expected[found["entity"]] for found in answer["predictions"]], abs=1e-5)
    assert [found["rank"] for found in answer["predictions"]] == [1, 2, 3, 4]


def test_known_triples_are_told_from_new_ones(folder):
    def known_in(part, **question):
        (answer,) = asked(folder, k=10, **question)
        assert all(found["known"] == (found["known_in"] is not None) for found in answer["predictions"])
        return {found[part]: found["known_in"] for found in answer["predictions"]}

    tails = known_in("entity", head="bob", relation="likes")
    assert tails == dict.fromkeys(tails) | {"dog": "train", "dog2": "train", "ann": "train", "cat": "valid"}
    heads = known_in("entity", tail="elm", relation="eats")
    assert heads == dict.fromkeys(heads) | {"gnu": "train", "hen": "test"}
    assert known_in("relation", head="ann", tail="gnu") == {"likes": "test", "knows": None, "eats": None}


def test_a_described_entity_is_asked_about_in_both_directions(folder):
    run = load_run(folder)
    (answer,) = asked(folder, head="ann", tail_text="moss", tail_description="green and soft and more than five tokens")
    ann, moss = tokens_of(run, "ann"), head_tokens(run, "moss", "green and soft and more than five tokens")
    for found in answer["predictions"]:
        relation = run.graph.relation_labels.index(found["relation"])
        forward = embedding_of(run, ann, relation) @ embedding_of(run, moss)
        backward = embedding_of(run, moss, relation + run.graph.num_relations) @ embedding_of(run, ann)
        assert found["score"] == pytest.approx(float(forward + backward) / 2, abs=1e-5)
    scores = [found["score"] for found in answer["predictions"]]
    assert scores == sorted(scores, reverse=True)
    assert (answer["tail"], answer["tail_name"]) == (None, "moss")


def test_candidates_are_ranked_among_the_graphs_entities_and_may_be_asked_about(folder, tmp_path):
    run = load_run(folder)
    (tmp_path / "new.tsv").write_text("ivy\nmoss\tgreen\n")
    (before,) = asked(folder, head="hen", relation="eats", k=10)
    (after,) = asked(folder, head="hen", relation="eats", k=20, candidates=str(tmp_path / "new.tsv"))
    found = {prediction["entity"]: prediction for prediction in after["predictions"]}
    assert len(found) == 12
    # the same text as the graph's ivy, so the same score, and each has half of both places
    assert found["new.tsv:1"]["rank"] == found["ivy"]["rank"] == pytest.approx(int(found["ivy"]["rank"]) + 0.5)
    assert (found["ivy"]["known_in"], found["new.tsv:1"]["known_in"]) == ("train", None)
    eats = run.graph.relation_labels.index("eats")
    expected = embedding_of(run, tokens_of(run, "hen"), eats) @ embedding_of(run, head_tokens(run, "moss", "green"))
    assert found["new.tsv:2"]["score"] == pytest.approx(float(expected), abs=1e-5)
    old = [prediction["entity"] for prediction in after["predictions"] if not prediction["entity"].startswith("new")]
    assert old == [prediction["entity"] for prediction in before["predictions"]]
    (answer,) = asked(folder, head="moss", relation="eats", k=1, candidates=str(tmp_path / "new.tsv"))
    assert (answer["head"], answer["head_name"]) == ("new.tsv:2", "moss")
    with pytest.raises(ValueError, match=r"2 entities share the name 'IVY'.*ivy \(ivy\), new.tsv:1 \(ivy\)"):
        asked(folder, head="IVY", relation="eats", candidates=str(tmp_path / "new.tsv"))


def test_answers_that_tie_with_one_that_is_not_shown_share_its_rank(folder, tmp_path):
    # however few of the eleven are shown, each is in the middle of all
    names = [f"moss mo mo mo mo mo mo mo mo mo {i}" for i in range(11)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps({"name": name}) + "\n" for name in names))
    (answer,) = asked(folder, head="ann", relation="likes", k=21, candidates=str(tmp_path / "new.jsonl"))
    ranks = [found["rank"] for found in answer["predictions"] if found["entity"].startswith("new")]
    assert len(set(ranks)) == 1, "names longer than eight tokens are cut to the same text"
    first = next(i for i, found in enumerate(answer["predictions"]) if found["entity"].startswith("new"))
    (shorter,) = asked(folder, head="ann", relation="likes", k=first + 1, candidates=str(tmp_path / "new.jsonl"))
    assert shorter["predictions"] == answer["predictions"][: first + 1]
    assert ranks[0] == first + 6


def test_a_cache_changes_no_answer_and_can_be_left_out(folder):
    cached = asked(folder, head="ann", relation="likes")
    (path,) = (folder / "cache").iterdir()
    path.unlink()
    assert asked(folder, head="ann", relation="likes", cache_embeddings=False) == cached
    assert not list((folder / "cache").iterdir())


def test_a_batch_has_the_answers_of_its_questions_alone(folder, tmp_path, capsys, monkeypatch):
    questions = [
        {"head": "ann", "relation": "likes"}, {"head": "ann", "tail": "gnu"}, {"relation": "eats", "tail": "hen"},
        {"head_text": "moss", "relation": "eats"}, {"head_text": "moss", "tail_text": "yak"},
    ]  # fmt: skip
    lines = [json.dumps({"id": f"q{i}" if i else 0, **question}) + "\n" for i, question in enumerate(questions)]
    (tmp_path / "q.jsonl").write_text("".join(lines))
    monkeypatch.setattr(predict_module, "QUESTIONS_AT_ONCE", 2)
    together = asked(folder, input=str(tmp_path / "q.jsonl"), k=3)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == together
    for i, (question, answer) in enumerate(zip(questions, together, strict=True)):
        assert answer.pop("id") == (f"q{i}" if i else 0)
        (alone,) = asked(folder, k=3, **question)
        for found in (*alone["predictions"], *answer["predictions"]):
            found["score"] = pytest.approx(found["score"], abs=1e-5)
        assert alone == answer
    asked(folder, input=str(tmp_path / "q.jsonl"), k=3, output=str(tmp_path / "a.jsonl"))
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 5


def test_a_new_entity_with_the_text_of_another_has_its_vector(folder):
    run = with_new_entities(load_run(folder), [NewEntity("a", "ivy", ""), NewEntity("b", "moss", "")])
    known = torch.nn.functional.normalize(torch.randn(10, run.encoder.embedding_size), dim=1)
    vectors = encode_new_entities(run.encoder, run.table, 64, known)
    ivy = list(run.graph.entity_labels).index("ivy")
    assert torch.equal(vectors[:10], known)
    assert torch.equal(vectors[10], known[ivy])
    alone = encode_entities(run.encoder, run.table, 64, np.array([11]))[0]
    torch.testing.assert_close(vectors[11], alone, rtol=0, atol=1e-5)  # another batch rounds otherwise


def test_bytes_that_are_no_text_are_refused(folder):
    with pytest.raises(ValueError, match="head_text holds half a character at place 2"):
        asked(folder, head_text="Z\udcff", relation="likes")


def test_a_fault_writes_nothing(folder, tmp_path):
    (tmp_path / "q.jsonl").write_text('{"head": "ann", "relation": "likes"}\n{"head": "anne", "relation": "likes"}\n')
    with pytest.raises(ValueError, match=r"q.jsonl:2: head: none of .* nearest: 'Ann'"):
        asked(folder, input=str(tmp_path / "q.jsonl"), output=str(tmp_path / "a.jsonl"))
    with pytest.raises(ValueError, match=r"output: there is no folder .*nowhere for a.jsonl"):
        asked(folder, head="ann", relation="likes", output=str(tmp_path / "nowhere" / "a.jsonl"))
    with pytest.raises(ValueError, match="candidates: there is no file"):
        asked(folder, head="ann", relation="likes", candidates=str(tmp_path / "new.tsv"))
    assert [path.name for path in tmp_path.iterdir()] == ["q.jsonl"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
@example("Paris, France")
@example("00260622")
@example("it's \\")
@example("${head}")
def test_texts_are_taken_as_they_are_typed(text):
    assume("\\${" not in text)  # omegaconf has no way to write this one
    override = OverridesParser.create().parse_override(quoted(f"head={text}", {"head"}))
    assert OmegaConf.create({"head": override.value()}).head == text
    assert quoted(f"k={text}", {"head"}) == f"k={text}"


@pytest.fixture
def command(folder, warm_python, offline_environment):
    return lambda *arguments, stdin="": warm_python.run(
        [ROOT / "eval" / "predict.py", f"run={folder}", *arguments], environment=offline_environment, stdin=stdin
    )


def test_the_command_shows_a_table(folder, offline_environment):
    result = subprocess.run(
        [sys.executable, str(ROOT / "eval" / "predict.py"), f"run={folder}", "head=ann", "relation=is fond of", "k=3"],
        env=offline_environment, capture_output=True, text=True, timeout=180, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "(Ann, is fond of, ?)  run, step 7" in result.stdout
    assert "known in" in result.stdout
    assert result.stdout.count("0.") == 3, "a score for each answer"


@pytest.mark.slow
def test_the_command_answers_a_batch_or_says_in_one_line_what_is_wrong(command):
    good = '{"head_text": "Zoe, a girl", "relation": "likes"}\n'
    result = command("input=-", "k=2", stdin=good)
    assert result.returncode == 0, result.stderr
    (answer,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert answer["head_name"] == "Zoe, a girl"
    assert len(answer["predictions"]) == 2
    result = command("input=-", stdin=good + '{"head": "a dog", "relation": "likes"}\n')
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: standard input:2: head: 2 entities share the name 'a dog'")
    assert 'dog (a dog: barks; "woof")' in line
