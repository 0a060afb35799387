"""Who writes a rationale: templates, or a language model on this machine."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from kalm.config import Dtype, LocalConfig
from kalm.distributed import choose_device
from kalm.model.loading import load_saved_tokenizer, pretrained_lm
from kalm.rationale.question import Kind, Question
from kalm.rationale.status import Status


@dataclass(frozen=True, slots=True)
class Task:
    """What a rationale is to be written from.

    Args:
        question: as it is asked.
        answers: that the facts are of.
        facts: the paths' facts as sentences, each once.
    """

    question: Question
    answers: tuple[str, ...]
    facts: tuple[str, ...]

    def prompt(self, instruction: str) -> str:
        """The instruction with its places {question}, {answer} and {facts} filled in."""
        question = self.question
        text = question.text
        if question.kind is Kind.multiple_choice:
            text += "\n" + "\n".join(f"- {choice}" for choice in question.choices)
        return instruction.format(question=text, answer=", ".join(self.answers), facts="\n".join(self.facts))


@dataclass(frozen=True, slots=True)
class Written:
    """A rationale, or why there is none; status is `ok` until its text is judged."""

    text: str
    status: Status = Status.ok
    reason: str = ""


class Generator(Protocol):
    """Writes rationales; `description` is stored with each."""

    description: dict[str, Any]

    def write(self, tasks: Sequence[Task]) -> list[Written]: ...

    def close(self) -> None: ...


class TemplateGenerator:
    """The facts themselves."""

    description: dict[str, Any] = {"kind": "template"}  # noqa: RUF012, never changed

    def write(self, tasks: Sequence[Task]) -> list[Written]:
        return [Written(" ".join(task.facts)) for task in tasks]

    def close(self) -> None:
        """It holds nothing."""


class LocalGenerator:
    """A causal LM of transformers, by greedy decoding, so that a second run writes the same.

    Raises:
        ValueError: the model or its tokenizer cannot be loaded.
    """

    def __init__(self, config: LocalConfig, instruction: str) -> None:
        assert config.path is not None
        try:
            self._tokenizer = load_saved_tokenizer(config.path)
            lm: Any = pretrained_lm(config.path, config.dtype)
        except ValueError as error:
            raise ValueError(str(error).replace("model.path", "generator.local.path", 1)) from None
        self._device = choose_device()
        self._lm = lm.to(self._device).eval()
        self._config, self._instruction = config, instruction
        self._tokenizer.padding_side = "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.convert_ids_to_tokens(0)
        positions = getattr(lm.config, "max_position_embeddings", None) or getattr(lm.config, "n_positions", None)
        self._max_prompt_tokens = None if positions is None else positions - config.max_new_tokens
        if self._max_prompt_tokens is not None and self._max_prompt_tokens < 1:
            raise ValueError(f"generator.local.max_new_tokens must be less than the model's window of {positions} "
                             f"tokens, got {config.max_new_tokens}")  # fmt: skip
        self.description = {"kind": "local", "model": config.path, "dtype": Dtype(config.dtype).value}

    def write(self, tasks: Sequence[Task]) -> list[Written]:
        """Greedy; a prompt that does not fit into the model's window is not written for."""
        prompts = [self._framed(task.prompt(self._instruction)) for task in tasks]
        lengths = [
            len(self._tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids) for prompt in prompts
        ]
        limit = self._max_prompt_tokens
        written = [
            Written("", Status.too_long, f"the prompt has {length} tokens, the model that writes takes {limit}")
            for length in lengths
        ]
        fitting = [i for i, length in enumerate(lengths) if limit is None or length <= limit]
        fitting.sort(key=lambda i: lengths[i])  # little padding
        for start in range(0, len(fitting), self._config.batch_size):
            rows = fitting[start : start + self._config.batch_size]
            for row, text in zip(rows, self._generate([prompts[row] for row in rows]), strict=True):
                written[row] = text
        return written

    def close(self) -> None:
        """Its memory goes with it."""

    def _framed(self, prompt: str) -> str:
        if self._tokenizer.chat_template is None:
            return f"{self._tokenizer.bos_token or ''}{prompt}"
        messages = [{"role": "user", "content": prompt}]
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    @torch.inference_mode()
    def _generate(self, prompts: list[str]) -> list[Written]:
        batch = self._tokenizer(prompts, add_special_tokens=False, padding=True, return_tensors="pt").to(self._device)
        written = self._lm.generate(
            input_ids=batch.input_ids, attention_mask=batch.attention_mask, do_sample=False, num_beams=1,
            max_new_tokens=self._config.max_new_tokens, pad_token_id=self._tokenizer.pad_token_id,
        )  # fmt: skip
        new = written[:, batch.input_ids.shape[1] :]
        ends = self._lm.generation_config.eos_token_id
        ends = [ends] if isinstance(ends, int) else ends or []
        is_ended = torch.isin(new, torch.tensor(ends, device=new.device)).any(1).tolist()
        texts: list[str] = self._tokenizer.batch_decode(new, skip_special_tokens=True)
        return [
            Written(text.strip()) if ended else whole_sentences(text)
            for text, ended in zip(texts, is_ended, strict=True)
        ]


def whole_sentences(text: str) -> Written:
    """What a writer that was stopped has written, up to its last whole sentence."""
    whole = re.match(r".*[.!?](?=[\s\"')]|$)[\"')]*", text, re.DOTALL)
    if whole is None:
        return Written(text.strip(), Status.cut_short, "it ends at generator.local.max_new_tokens, in a sentence")
    return Written(whole.group().strip())
