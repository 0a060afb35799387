"""Rationales from an endpoint, against a fake server on this machine."""

import asyncio
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import write_toy_graph
from rationale_config import rationales_config

from kalm.rationale.answer_cache import Answer, AnswerCache
from kalm.rationale.cost import Price, estimate
from kalm.rationale.paced_client import Pace
from kalm.rationale.run import make_rationales

GOOD = "Ann likes a fox, as the facts say."
QUESTION = "what does [Ann] like"
# what a question holds -> the status of its record
FATES = {
    "fine": "ok",
    "busy": "ok",  # 429 once, then an answer
    "broken": "endpoint_failed",
    "slow": "endpoint_timeout",
    "drip": "endpoint_timeout",  # each read is in time, the whole is not
    "refuse": "endpoint_refused",
    "filter": "endpoint_refused",
    "toolong": "endpoint_refused",
    "html": "endpoint_rubbish",
    "nochoices": "endpoint_rubbish",
    "nocontent": "endpoint_rubbish",
    "torn": "endpoint_rubbish",
    "surrogate": "endpoint_rubbish",
    "blank": "empty_rationale",
    "answer": "repeats_answer",
    "cut": "cut_short",
    "invent": "foreign_entity",
    "idle": "no_fact",
}


def completion(text, finish_reason="stop", **message):
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "finish_reason": finish_reason,
                         "message": {"role": "assistant", "content": text, **message}}],
            "usage": {"prompt_tokens": 200, "completion_tokens": 5, "total_tokens": 205}}  # fmt: skip


BODIES = {
    "refuse": completion(None, refusal="I cannot help with that."),
    "filter": completion("", "content_filter"),
    "nochoices": {"object": "chat.completion", "choices": []},
    "nocontent": completion(None),
    "surrogate": completion("Ann likes a fox \ud800."),
    "nousage": {key: value for key, value in completion(GOOD).items() if key != "usage"},
    "blank": completion(" \n"),
    "answer": completion("A fox."),
    "cut": completion("Ann likes a fox, and", "length"),
    "invent": completion("Ann likes a fox, and so does Bob."),
    "idle": completion("Animals are liked by many."),
}
RAW = {"html": ("text/html", b"<html>hello</html>"), "torn": ("application/json", b'{"choices": [{"mess')}
STATUS = {"broken": 500, "toolong": 400, "locked": 401}


class Handler(BaseHTTPRequestHandler):
    asked: Counter
    requests: list

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = request["messages"][0]["content"]
        word = prompt.rpartition("Question: ")[2].split()[0]
        self.requests.append((self.path, self.headers["Authorization"], request))
        self.asked[word] += 1
        status, kind = STATUS.get(word, 200), "application/json"
        body = json.dumps(BODIES.get(word, completion(GOOD))).encode()
        if word == "slow":
            time.sleep(0.6)
        if word == "busy" and self.asked[word] == 1:
            status = 429
        if status != 200:
            body = json.dumps({"error": {"message": f"fault {status}", "code": None}}).encode()
        kind, body = RAW.get(word, (kind, body))
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("retry-after-ms", "1")
            self.end_headers()
            for part in [body[:9], *(body[i : i + 1] for i in range(9, 15))] if word == "drip" else [body]:
                self.wfile.write(part)
                time.sleep(0.1 if word == "drip" else 0)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the slow one is not waited for

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    Handler.asked, Handler.requests = Counter(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def folder(tmp_path):
    write_toy_graph(tmp_path / "toy")
    return tmp_path


def make(folder, words, *overrides):
    lines = [f"{word} {QUESTION}\ta fox\n" for word in words]
    (folder / "qa.txt").write_text("".join(lines))
    keys = ("generator.kind=endpoint", "generator.endpoint.model=m", "generator.endpoint.num_retries=1",
            "generator.endpoint.timeout_seconds=0.3")  # fmt: skip
    summary = make_rationales(rationales_config(*keys, *overrides, folder=folder))
    return summary, [json.loads(line) for line in (folder / "out.jsonl").read_text().splitlines()]


def test_each_kind_of_answer_has_its_status(folder, server, capsys):
    summary, records = make(folder, FATES)
    assert {record["question"].split()[0]: record["status"] for record in records} == FATES
    assert all(bool(record["reason"]) == (record["status"] != "ok") for record in records)
    assert all((record["rationale"] == GOOD) == (record["status"] == "ok") for record in records)
    assert {record["rejected"] for record in records if record["status"] == "foreign_entity"} == {
        BODIES["invent"]["choices"][0]["message"]["content"]
    }
    assert (server.asked["busy"], server.asked["broken"], server.asked["fine"]) == (2, 2, 1)
    path, key, request = server.requests[0]
    assert (path, key, request["model"], request["max_tokens"]) == ("/v1/chat/completions", "Bearer secret", "m", 256)
    assert summary["statuses"] == dict(Counter(FATES.values()))
    assert summary["endpoint_in_this_run"]["requests"] == 9  # the answers, refusals among them
    assert "secret" not in (folder / "out.jsonl").read_text() + capsys.readouterr().out

    # what was answered is not asked again, what failed is
    before = server.asked.copy()
    summary, again = make(folder, FATES, "overwrite=true")
    assert [record["status"] for record in again] == [record["status"] for record in records]
    assert summary["endpoint_in_this_run"]["requests"] == 0
    failed = {
        word for word, fate in FATES.items() if fate in ("endpoint_failed", "endpoint_timeout", "endpoint_rubbish")
    }
    assert {word for word in FATES if server.asked[word] > before[word]} == failed | {"toolong"}


def test_a_key_that_is_refused_stops_the_run_and_keeps_what_is_done(folder, server):
    with pytest.raises(ValueError, match=r"refuses every request: .*fault 401.*OPENAI_API_KEY"):
        make(folder, ["fine", "locked"], "at_once=1")
    assert len((folder / "out.jsonl").read_text().splitlines()) == 1
    assert len((folder / "out.jsonl.answers.jsonl").read_text().splitlines()) == 1


def test_overwriting_loses_nothing_before_the_new_file_is_whole_and_goes_on(folder, server, monkeypatch):
    make(folder, ["fine"])
    before = (folder / "out.jsonl").read_bytes()
    names = {path.name for path in folder.iterdir()}
    with pytest.raises(ValueError, match="fault 401"):
        make(folder, ["locked"], "overwrite=true")
    assert (folder / "out.jsonl").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == names, "of a run that has written nothing nothing is left"
    with pytest.raises(ValueError, match="fault 401"):
        make(folder, ["fine a", "locked"], "overwrite=true", "at_once=1")
    assert (folder / "out.jsonl").read_bytes() == before
    monkeypatch.delitem(STATUS, "locked")
    summary, records = make(folder, ["fine a", "locked"], "overwrite=true")
    assert (summary["questions"], summary["questions_in_this_run"]) == (2, 1)
    assert [record["question"].split()[0] for record in records] == ["fine", "locked"]
    assert {path.name for path in folder.iterdir()} == names


def test_a_file_of_someone_elses_is_no_cache(folder, server):
    for content in (b"mine", b'{"mine": 1}\n', b'mine\n{"key": "'):
        (folder / "mine").write_bytes(content)
        with pytest.raises(ValueError, match="mine exists and holds something else"):
            make(folder, ["fine"], f"generator.endpoint.cache={folder / 'mine'}")
        assert (folder / "mine").read_bytes() == content


def test_equal_prompts_are_asked_once(folder, server):
    words = ["fine", "fine", "broken", "fine", "broken"]
    assert make_estimate(folder, words)["num_requests"] == 2
    _, records = make(folder, words, "generator.endpoint.num_retries=0")
    assert [record["status"] for record in records] == [FATES[word] for word in words]
    assert server.asked == {"fine": 1, "broken": 1}


def test_requests_that_are_tried_again_wait_their_turn_too(folder, server, monkeypatch):
    turns = []

    async def wait(_):
        turns.append(len(server.requests))

    monkeypatch.setattr(Pace, "wait", wait)
    make(folder, ["busy"])
    assert turns == [0, 1]


def test_an_endpoint_that_fails_on_and_on_stops_the_run(folder, server):
    words = ["fine", "broken a", "broken b", "broken c", "broken d"]
    with pytest.raises(ValueError, match=r"failed 3 times in a row, at last with: .*fault 500"):
        make(folder, words, "generator.endpoint.max_failures=3", "at_once=1")
    assert len((folder / "out.jsonl").read_text().splitlines()) == 3


def test_an_endpoint_that_is_not_there_is_told(folder, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    _, (record,) = make(folder, ["fine"], "generator.endpoint.num_retries=0")
    assert record["status"] == "endpoint_failed"
    assert "onnection" in record["reason"]


PRICES = ("generator.endpoint.prompt_price=1e6", "generator.endpoint.completion_price=1e6")


def test_the_cost_is_told_before_and_held_to(folder, server, capsys):
    words = [f"fine {i}" for i in range(4)]
    answer = make_estimate(folder, words, *PRICES)
    assert (answer["num_requests"], answer["completion_tokens"]) == (4, 4 * 256)
    assert answer["dollars"] == answer["prompt_tokens"] + answer["completion_tokens"]
    assert "estimate from 4 questions: 4 requests" in capsys.readouterr().out
    assert not server.requests
    assert not (folder / "out.jsonl").exists()
    with pytest.raises(ValueError, match="max_cost=100: estimate from 4 questions"):
        make(folder, words, *PRICES, "generator.endpoint.max_cost=100")
    assert not server.requests
    # the server counts 205 tokens an answer, more than the estimate: after the first one the limit is reached
    short = (*PRICES, "at_once=1", "generator.endpoint.max_new_tokens=1")
    limit = make_estimate(folder, words, *short)["dollars"] + 1
    with pytest.raises(ValueError, match=r"are spent in this run \(\d"):
        make(folder, words, *short, f"generator.endpoint.max_cost={limit}")
    assert 1 <= len(server.requests) == len((folder / "out.jsonl").read_text().splitlines()) < 4


def test_an_endpoint_that_counts_no_tokens_costs_what_was_estimated(folder, server):
    words = ["nousage a", "nousage b"]
    told = make_estimate(folder, words, *PRICES)
    paid = make(folder, words, *PRICES)[0]["endpoint_in_this_run"]
    assert paid["completion_tokens"] == told["completion_tokens"] == 2 * 256
    assert paid["dollars"] == pytest.approx(told["dollars"], abs=1)  # each prompt is rounded


def make_estimate(folder, words, *overrides):
    (folder / "qa.txt").write_text("".join(f"{word} {QUESTION}\ta fox\n" for word in words))
    keys = ("generator.kind=endpoint", "generator.endpoint.model=m", "generator.endpoint.estimate_only=true")
    return make_rationales(rationales_config(*keys, *overrides, folder=folder))["estimate"]


def test_a_sample_is_scaled_up():
    told = estimate(["x" * 40, "y" * 80], num_sampled=4, num_questions=100, max_new_tokens=7, price=Price(2.0, 4.0))
    assert (told.num_requests, told.prompt_tokens, told.completion_tokens) == (50, 750, 350)
    assert told.dollars == pytest.approx((750 * 2 + 350 * 4) / 1e6)
    assert "at most 0.00 US dollars" in str(told)
    assert "to see the cost" in str(
        estimate([], num_sampled=0, num_questions=0, max_new_tokens=7, price=Price(None, 1.0))
    )


def test_answers_outlive_a_torn_line(tmp_path):
    cache = AnswerCache(tmp_path / "cache")
    answers = {bytes([i]) * 16: Answer(f"text {i}", "stop", None, i, 2) for i in range(3)}
    for key, answer in answers.items():
        cache.put(key, answer)
    assert {key: cache.get(key) for key in answers} == answers
    cache.close()
    path = tmp_path / "cache"
    path.write_bytes(path.read_bytes()[:-3])
    again = AnswerCache(path)
    assert len(again) == 2
    assert again.get(b"\2" * 16) is None
    assert again.get(b"\1" * 16) == answers[b"\1" * 16]
    again.close()


def test_requests_are_spread_evenly(monkeypatch):
    now, slept = [100.0], []

    async def sleep(seconds):
        slept.append(round(seconds, 6))
        now[0] += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(asyncio, "sleep", sleep)

    async def ask(pace, count):
        for _ in range(count):
            await pace.wait()

    pace = Pace(120)
    asyncio.run(ask(pace, 3))
    now[0] += 10
    asyncio.run(ask(pace, 1))
    assert slept == [0.5, 0.5]
    asyncio.run(ask(Pace(None), 3))
    assert len(slept) == 2
