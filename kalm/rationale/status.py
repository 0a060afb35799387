"""What became of a question."""

from enum import Enum


class Status(Enum):
    """`ok`, or why there is nothing to train on."""

    ok = "ok"
    no_answer = "no_answer"  # the data has none
    no_entity = "no_entity"  # nothing in the question is an entity of the graph
    no_answer_entity = "no_answer_entity"  # no answer is one
    ambiguous_answer = "ambiguous_answer"  # each answer that is an entity is several
    no_path = "no_path"  # within the limits; partial paths are kept in the record
    search_stopped = "search_stopped"  # paths.max_expansions was reached before a path was found
    too_long = "too_long"  # for the window of the model that is to be trained, or of the one that writes
    empty_rationale = "empty_rationale"
    repeats_answer = "repeats_answer"  # the rationale is the answer alone
    foreign_entity = "foreign_entity"  # the rationale names an entity that is not in the paths
    no_fact = "no_fact"  # the rationale tells no fact of the paths
    cut_short = "cut_short"  # the rationale ends at the writer's limit of tokens
    endpoint_timeout = "endpoint_timeout"
    endpoint_refused = "endpoint_refused"  # the model, or its filter, would not answer
    endpoint_rubbish = "endpoint_rubbish"  # what came is no answer by the protocol
    endpoint_failed = "endpoint_failed"  # it answered with errors, or not at all
