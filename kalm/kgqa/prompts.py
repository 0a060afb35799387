"""Prompts as tokens: in the run's own template, or an instruction in words."""

from collections.abc import Sequence
from typing import Protocol

from transformers import PreTrainedTokenizerFast

from kalm.config import PromptsConfig, TemplateConfig
from kalm.graph.knowledge_graph import RELATION, TAIL, KnowledgeGraph
from kalm.kgqa.asked import Asked
from kalm.text.ragged import RaggedArray
from kalm.text.token_table import TokenTable, token_ids


class PromptWriter(Protocol):
    """Makes the prompt of a question."""

    def tokens(self, question: Asked, examples: Sequence[Asked]) -> list[int]:
        """What the LM reads before it writes the answer."""


class OwnPrompts:
    """The segments that the run was trained on, `HEAD; RELATION:`; examples are whole sequences before them.

    A question in natural language stands where the relation does, `TOPIC; QUESTION:`. A prompt of a relation or of a
    judgement ends with the head, since its relation is to be tried.
    """

    def __init__(self, table: TokenTable, template: TemplateConfig, tokenizer: PreTrainedTokenizerFast) -> None:
        self._table, self._template, self._tokenizer = table, template, tokenizer
        closing = template.relation_end if template.completion is None else template.completion.response
        (self._closing,) = token_ids([closing], tokenizer, None)

    def tokens(self, question: Asked, examples: Sequence[Asked]) -> list[int]:
        shots = [token for example in examples for token in self._sequence(example)]
        return [*shots, *self._query(question)]

    def _sequence(self, example: Asked) -> list[int]:
        if example.text:
            return [*self._query(example), *_row(self._table.tails, example.known[0])]
        head, relation, tail = example.triple
        return [*self.opening(head, relation), *_row(self._table.tails, tail)]

    def _query(self, question: Asked) -> list[int]:
        if question.text:
            (words,) = token_ids([self._template.relation.format(relation=question.text)], self._tokenizer, None)
            return [*_row(self._table.completion_heads, question.topics[0]), *words, *self._closing]
        head, relation, _ = question.triple
        if question.task in {"head", "tail"}:
            return self.opening(head, relation)
        return _row(self._table.completion_heads, head)

    def opening(self, head: int, relation: int) -> list[int]:
        """Head and directed relation."""
        return [*_row(self._table.completion_heads, head), *_row(self._table.completion_relations, relation)]


class InstructionPrompts:
    """Texts by `PromptsConfig`, tokenised as a whole behind the start-of-text token, where the tokenizer has one."""

    def __init__(
        self,
        graph: KnowledgeGraph,
        words: PromptsConfig,
        template: TemplateConfig,
        tokenizer: PreTrainedTokenizerFast,
        *,
        descriptions: bool,
    ) -> None:
        self._graph, self._words, self._template, self._tokenizer = graph, words, template, tokenizer
        self._max_description_tokens = template.max_description_tokens if descriptions else 0
        inverses = graph.inverse_names or [""] * graph.num_relations
        self._relations = [
            *graph.relation_names,
            *(
                inverse or words.inverse_relation.format(relation=name)
                for name, inverse in zip(graph.relation_names, inverses, strict=True)
            ),
        ]
        self._list = words.list_separator.join(graph.relation_names)
        self._start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]

    def tokens(self, question: Asked, examples: Sequence[Asked]) -> list[int]:
        (tokens,) = token_ids([self.text(question, examples)], self._tokenizer, None)
        return [*self._start, *tokens]

    def text(self, question: Asked, examples: Sequence[Asked]) -> str:
        """The prompt in words."""
        frame = self._words.questions if question.text else self._words.triples
        instruction = getattr(self._words, question.task).instruction.format(relations=self._list)
        parts = [frame.start.format(instruction=instruction)]
        for example in examples:
            answer = frame.answer.format(answer=self._answer(example))
            parts += [frame.ask.format(input=self._input(example)), answer, frame.between]
        return "".join([*parts, frame.ask.format(input=self._input(question))])

    def _input(self, question: Asked) -> str:
        form = getattr(self._words, question.task).input
        if question.text:
            return str(form.format(question=question.text))
        head, relation, tail = question.triple
        if question.task == "head":  # asked from the tail by the inverse relation
            return str(form.format(tail=self._entity(head), relation=self._relations[relation]))
        slots = {"head": head, "relation": relation, "tail": tail}
        return str(form.format(**{
            slot: self._relations[place] if slot == "relation" else self._entity(place)
            for slot, place in slots.items()
        }))  # fmt: skip

    def _answer(self, example: Asked) -> str:
        if example.task == "classification":
            return self._words.yes if example.is_true else self._words.no
        if example.text:
            return self._graph.entity_names[example.known[0]]
        if example.task == "relation":
            return self._relations[example.triple[RELATION]]
        return self._graph.entity_names[example.triple[TAIL]]

    def _entity(self, place: int) -> str:
        description = self._graph.entity_descriptions[place]
        if not description or self._max_description_tokens == 0:
            return self._graph.entity_names[place]
        whole = self._template.description.format(description=description)
        return self._graph.entity_names[place] + cut(whole, self._max_description_tokens, self._tokenizer)


def cut(text: str, max_tokens: int, tokenizer: PreTrainedTokenizerFast) -> str:
    """The text up to the end of so many of its tokens."""
    # not decoded tokens, which may spell another text
    places = tokenizer(text, add_special_tokens=False, split_special_tokens=True, return_offsets_mapping=True,
                       verbose=False).offset_mapping  # fmt: skip
    return text if len(places) <= max_tokens else text[: places[max_tokens - 1][1]]


def _row(rows: RaggedArray, place: int) -> list[int]:
    return list(map(int, rows.values[rows.offsets[place] : rows.offsets[place + 1]]))
