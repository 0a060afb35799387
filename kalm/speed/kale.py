"""A step that pulls the answer to a question to the one with its rationale, beside plain fine-tuning on the same."""

import numpy as np
import torch

from kalm.model.dual_view_lm import DualViewLM
from kalm.objective.joint import JointObjective, QuestionLosses
from kalm.objective.negatives import ContrastiveObjective
from kalm.speed.measure import Row, ratio_row, take_turns, value_row
from kalm.speed.task import LLAMA_15M, NUM_RELATIONS, Size, llama, shipped_config
from kalm.text.question_table import QuestionTable
from kalm.text.ragged import Ids, RaggedArray
from kalm.training.engine import init_distributed, initialize
from kalm.training.question_step import question_step
from kalm.training.questions import QuestionBatches

NUM_QUESTIONS = 2_048
# fewest and most tokens of MetaQA's questions of one hop under GPT-2's tokenizer, the rarest lengths left out
PROMPT_TOKENS, ANSWER_TOKENS = (12, 17), (2, 8)
# of their rationales by template: the median, how far the logarithm spreads, and the most; the mean is 34
RATIONALE_TOKENS, RATIONALE_SPREAD, LONGEST_RATIONALE = 18, 1.1, 220
SYSTEMS = {
    "divergence": ["objective.kale.kl_weight=1"],
    "recipe": ["objective.kale.kl_weight=1", "objective.kale.answer_with_rationale_weight=1"],
    "plain": ["objective.kale.kl_weight=0", "objective.kale.answer_weight=1"],
    "plain_on_both": ["objective.kale.kl_weight=0", "objective.kale.answer_weight=1",
                      "objective.kale.answer_with_rationale_weight=1"],
}  # fmt: skip


def measure_kale(*, batch_size: int, repeats: int, size: Size = LLAMA_15M) -> list[Row]:
    """A Llama of 15 M parameters, in turns.

    `plain` trains on questions and answers; `plain_on_both` on all that the divergence reads, rationales too; `recipe`
    is the divergence while the LM learns to read rationales, `experiment=kale`.

    Args:
        batch_size: questions per step.
        repeats: timed steps of each, after one that is not counted.
        size: of the model.
    """
    trainings = {name: _QuestionTraining(size, batch_size, overrides) for name, overrides in SYSTEMS.items()}
    seconds = take_turns({name: training.step for name, training in trainings.items()}, repeats)
    mine = seconds["divergence"]
    return [
        value_row("divergence_step_in_plain_steps", "times the plain step",
                  [own / other for own, other in zip(mine, seconds["plain"], strict=True)]),
        ratio_row("divergence_step_vs_plain", "s", mine, seconds["plain"], more_is_better=False),
        ratio_row("divergence_step_vs_plain_on_both", "s", mine, seconds["plain_on_both"], more_is_better=False),
        ratio_row("recipe_step_vs_plain_on_both", "s", seconds["recipe"], seconds["plain_on_both"],
                  more_is_better=False),
        *(
            value_row(f"{name}_tokens_in_a_step", "tokens", [training.num_tokens])
            for name, training in trainings.items()
        ),
    ]  # fmt: skip


class _QuestionTraining:
    """Steps as the trainer makes them, on random tokens."""

    def __init__(self, size: Size, batch_size: int, overrides: list[str]) -> None:
        device = init_distributed()
        config = shipped_config(["objective=kale", "objective.kale.rationales=none",
                                 f"objective.kale.batch_size={batch_size}", *overrides])  # fmt: skip
        contrastive = ContrastiveObjective(
            config.objective, torch.empty(0, dtype=torch.int64, device=device), num_relations=NUM_RELATIONS,
            num_entities=1,
        )  # fmt: skip
        encoder = DualViewLM(llama(size), config.model.dropout)
        objective = JointObjective(encoder, config.objective, contrastive).to(device)
        self._questions = QuestionBatches(
            _synthetic_questions(size), np.arange(NUM_QUESTIONS), config, rank=0, world_size=1
        )
        self._engine = initialize(objective, config, world_size=1, total_steps=100_000)
        self._engine.train()
        self._num_steps = 0
        self.num_tokens = 0  # of the last step

    def step(self) -> QuestionLosses:
        batches = self._questions.of_step(self._num_steps, self._engine.device)
        self._num_steps += 1
        self.num_tokens = sum(batch.num_tokens for batch in batches)
        return question_step(self._engine, batches)


def _synthetic_questions(size: Size) -> QuestionTable:
    """The explained prompt is the plain one with the rationale before its last three tokens."""
    random = np.random.default_rng(0)

    def rows(lengths: Ids) -> list[list[int]]:
        return [random.integers(1, size.vocabulary, size=length).tolist() for length in lengths]

    spread = random.lognormal(np.log(RATIONALE_TOKENS), RATIONALE_SPREAD, size=NUM_QUESTIONS)
    rationales = rows(np.clip(spread, 1, LONGEST_RATIONALE).astype(np.int64))
    prompts, answers = (
        rows(random.integers(fewest, most + 1, size=NUM_QUESTIONS)) for fewest, most in (PROMPT_TOKENS, ANSWER_TOKENS)
    )
    return QuestionTable(
        prompts=RaggedArray.from_rows(prompts),
        explained=RaggedArray.from_rows(
            [[*prompt[:-3], *rationale, *prompt[-3:]] for prompt, rationale in zip(prompts, rationales, strict=True)]
        ),
        answers=RaggedArray.from_rows(answers),
        answer_offsets=np.arange(NUM_QUESTIONS + 1),
        counts={},
    )
