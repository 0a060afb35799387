"""The LM with two uses: states at sites are embeddings, logits at labels write the tail."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel


class Views(NamedTuple):
    """What one forward over B sequences gives."""

    entity_embeddings: Tensor  # (B, D), float32: each head as a target
    query_embeddings: Tensor  # (B, D), float32: each (head, relation)
    label_states: Tensor  # (L, D): states from which the tail tokens are predicted


class DualViewLM(nn.Module):
    """A causal LM read at the entity site, the query site and the labels of each sequence.

    The LM is causal and sequences are padded on the right, so a state never depends on what follows it: the
    entity site sees the head segment alone, the query site head and relation alone. For the same reason no
    attention mask is needed, which leaves the attention kernels their fast causal path.

    Args:
        lm: a causal LM of transformers, or such a model wrapped by peft.
        dropout: share of token embeddings and of read-out states set to 0 in training.
    """

    def __init__(self, lm: nn.Module, dropout: float) -> None:
        super().__init__()
        self.lm = lm
        self.dropout = nn.Dropout(dropout)

    @property
    def causal_lm(self) -> PreTrainedModel:
        """The transformers model, without peft's wrapper; adapters are layers inside it."""
        unwrap = getattr(self.lm, "get_base_model", None)
        lm: PreTrainedModel = self.lm if unwrap is None else unwrap()
        return lm

    @property
    def embedding_size(self) -> int:
        """D."""
        return int(self.causal_lm.config.get_text_config().hidden_size)

    @property
    def has_adapters(self) -> bool:
        """Whether the base's weights are frozen inside it, with adapters beside them."""
        return hasattr(self.lm, "disable_adapter")

    def frozen_copy(self) -> "DualViewLM":
        """The same LM with weights of its own, which are not trained."""
        copied = copy.deepcopy(self)
        copied.requires_grad_(False)
        return copied

    @contextmanager
    def as_base(self) -> Iterator[None]:
        """Within it the LM is without adapters and without dropout: what it was before the first step, if frozen."""
        with self.without_dropout(), self._without_adapters() if self.has_adapters else nullcontext():
            yield

    @contextmanager
    def without_dropout(self) -> Iterator[None]:
        """Within it the LM is as in evaluation."""
        was_training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(was_training)

    @contextmanager
    def _without_adapters(self) -> Iterator[None]:
        trained = [weight for weight in self.parameters() if weight.requires_grad]
        try:
            with self.lm.disable_adapter():  # type: ignore[operator]
                yield
        finally:
            # peft gives all adapters a gradient again, a frozen first factor too
            self.requires_grad_(False)
            for weight in trained:
                weight.requires_grad_(True)

    def use_gradient_checkpointing(self) -> None:
        """Keep the layers' inputs only, and compute the rest again in the backward pass."""
        # reentrant checkpointing of several passes breaks the engine's reduction of gradients
        self.causal_lm.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})

    def save_pretrained(self, folder: Path) -> None:
        """Weights (or the adapter's) and config, loadable by transformers (or peft) as they are."""
        self.lm.save_pretrained(folder)  # type: ignore[operator]

    def forward(
        self, input_ids: tuple[Tensor, ...], entity_sites: Tensor, query_sites: Tensor, label_positions: Tensor
    ) -> Views:
        """One pass over every sequence, all views.

        Args:
            input_ids: groups of sequences, each (rows, tokens), int64, padded on the right with any token.
            entity_sites, query_sites: (B,), int64, and
            label_positions: (L,), int64: positions in the groups' tokens laid end to end.
        """
        states = self._states_of(input_ids)
        return Views(
            entity_embeddings=states[entity_sites].float(),
            query_embeddings=states[query_sites].float(),
            label_states=states[label_positions],
        )

    def states_at(self, input_ids: tuple[Tensor, ...], positions: Tensor) -> Tensor:
        """States at some positions of groups of sequences, both as `forward` has them, (L, D)."""
        return self._states_of(input_ids)[positions]

    def _states_of(self, input_ids: tuple[Tensor, ...]) -> Tensor:
        """States of the groups' tokens laid end to end, (tokens, D)."""
        # one lookup for all groups: the backward of each would fill a gradient as large as the whole vocabulary
        embedded = self._embed(torch.cat([group.flatten() for group in input_ids]))  # (tokens, D)
        parts = torch.split(embedded, [group.numel() for group in input_ids])
        states = torch.cat(
            [
                self._body(part.view(*group.shape, -1)).flatten(0, 1)
                for part, group in zip(parts, input_ids, strict=True)
            ]
        )
        dropped: Tensor = self.dropout(states)
        return dropped

    def states(self, input_ids: Tensor) -> Tensor:
        """Last hidden states after the final norm, (B, T, D)."""
        return self._body(self._embed(input_ids))

    def embed_last(self, input_ids: Tensor, sites: Tensor) -> Tensor:
        """Embeddings at one position in each row: (B, T) and (B,), int64, give (B, D), float32."""
        states = self.states(input_ids)
        return states[torch.arange(len(states), device=states.device), sites].float()

    def logits(self, states: Tensor) -> Tensor:
        """Next-token logits, (L, D) -> (L, V), float32."""
        logits: Tensor = self.causal_lm.get_output_embeddings()(states).float()
        cap = getattr(self.causal_lm.config, "final_logit_softcapping", None)  # Gemma 2
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _embed(self, input_ids: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(self.causal_lm.get_input_embeddings()(input_ids))
        return embedded

    def _body(self, embedded: Tensor) -> Tensor:
        states: Tensor = self.causal_lm.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        return states


def check_read_out(encoder: DualViewLM) -> None:
    """Compare the read-out with the LM's own forward on a few tokens.

    Raises:
        ValueError: the LM cannot be read, is not causal, or does something between last state and logits, or between
            token embeddings and first layer, that the read-out does not know.
    """
    device = next(encoder.parameters()).device
    input_ids = torch.arange(3, 9, device=device)[None]
    name = type(encoder.causal_lm).__name__
    remedy = "choose a decoder-only LM such as Llama, Qwen, Mistral, Gemma or GPT-2"
    try:
        with torch.no_grad(), encoder.without_dropout():
            own = encoder.causal_lm(input_ids=input_ids, use_cache=False).logits.float()
            states = encoder.states(input_ids)
            read = encoder.logits(states)
            prefix_states = encoder.states(input_ids[:, :3])
    except (TypeError, AttributeError, IndexError, ValueError) as error:
        raise ValueError(f"model.path: the last hidden states of {name} cannot be read ({error}); {remedy}") from error
    if not _close(states[:, :3], prefix_states):
        raise ValueError(f"model.path: {name} is not causal here: its states depend on later tokens, so a query would "
                         f"see its answer; turn bidirectional attention off in its config, or {remedy}")  # fmt: skip
    if not _close(own, read):
        raise ValueError(f"model.path: {name} computes logits in a way kalm does not know; "
                         f"they differ by {float((own - read).abs().max()):.3g}; {remedy}")  # fmt: skip


def _close(a: Tensor, b: Tensor) -> bool:
    # two roundings of the same computation, also in bfloat16; a different computation is off by far more
    return torch.allclose(a.float(), b.float(), rtol=2e-2, atol=2e-2 * float(a.abs().max()))
