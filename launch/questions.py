"""Questions from a graph, by template: `python launch/questions.py data=NAME out=FOLDER [KEY=VALUE ...]`.

Keys and their meaning stand in kalm/config/questions.py.
"""

from omegaconf import DictConfig

from kalm.command_line import run
from kalm.composition import check_place, load_questions
from kalm.config import QuestionsConfig


def main(composed: DictConfig) -> None:
    config = load_questions(composed)
    check_place(config.data)

    from kalm.rationale.question_maker import (
        make_questions,
    )  # heavy: loads torch, after the config is known to be right

    make_questions(config)


if __name__ == "__main__":
    run(main, config_name="questions", schema=QuestionsConfig, verbatim=("out", "data.path", "data.root"))
