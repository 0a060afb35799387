"""One forward gives what separate forwards would, for each family of LMs."""

import pytest
import torch
from conftest import lora_config
from test_batch import row_starts
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    Qwen3Config,
)

from kalm.model.dual_view_lm import DualViewLM, check_read_out
from kalm.model.loading import add_lora
from kalm.text.batch import collate

SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
FAMILIES = {
    "llama": LlamaConfig(vocab_size=320, **SMALL),
    "gpt2": GPT2Config(vocab_size=320, n_embd=16, n_layer=2, n_head=2, n_positions=64),
    "gpt_neox": GPTNeoXConfig(vocab_size=320, max_position_embeddings=64, **SMALL),
    "qwen3": Qwen3Config(vocab_size=320, num_key_value_heads=1, head_dim=8, **SMALL),
    "mistral": MistralConfig(vocab_size=320, num_key_value_heads=1, sliding_window=8, **SMALL),
    "gemma": GemmaConfig(vocab_size=320, num_key_value_heads=1, head_dim=8, **SMALL),
}


@pytest.fixture(params=FAMILIES)
def family_encoder(request):
    torch.manual_seed(0)
    return DualViewLM(AutoModelForCausalLM.from_config(FAMILIES[request.param]), dropout=0.0).eval()


def test_sites_equal_the_prefixes_encoded_alone(family_encoder, toy_graph, table):
    directed = toy_graph.directed("train")
    batch = collate(directed, table, num_groups=3)
    with torch.no_grad():
        views = family_encoder(batch.input_ids, batch.entity_sites, batch.query_sites, batch.label_positions)
        tokens = torch.cat([group.flatten() for group in batch.input_ids])
        starts = row_starts(batch)
        for row in range(len(directed)):
            for sites, embeddings in (
                (batch.entity_sites, views.entity_embeddings),
                (batch.query_sites, views.query_embeddings),
            ):
                site = int(sites[row])
                prefix = tokens[None, max(start for start in starts if start <= site) : site + 1]
                alone = family_encoder.causal_lm.base_model(input_ids=prefix).last_hidden_state[0, -1]
                torch.testing.assert_close(embeddings[row], alone, rtol=0, atol=1e-5)


def test_logits_at_labels_equal_the_lms_own(family_encoder, toy_graph, table):
    batch = collate(toy_graph.directed("train"), table, num_groups=3)
    with torch.no_grad():
        views = family_encoder(batch.input_ids, batch.entity_sites, batch.query_sites, batch.label_positions)
        whole = [family_encoder.causal_lm(input_ids=group).logits.flatten(0, 1) for group in batch.input_ids]
        own = torch.cat(whole)[batch.label_positions]
        torch.testing.assert_close(family_encoder.logits(views.label_states), own, rtol=0, atol=1e-5)


def test_a_read_out_that_differs_from_the_lms_own_is_refused():

    lm = AutoModelForCausalLM.from_config(FAMILIES["llama"])
    encoder = DualViewLM(lm, dropout=0.0)
    check_read_out(encoder)
    encoder.logits = lambda states: 2 * lm.lm_head(states)
    with pytest.raises(ValueError, match="LlamaForCausalLM computes logits in a way kalm does not know"):
        check_read_out(encoder)


def test_a_bidirectional_lm_is_refused():
    from transformers import Gemma3TextConfig

    sizes = {"num_key_value_heads": 1, "head_dim": 8, "sliding_window": 8, **SMALL}
    for bidirectional in (False, True):
        config = Gemma3TextConfig(vocab_size=320, use_bidirectional_attention=bidirectional, **sizes)
        encoder = DualViewLM(AutoModelForCausalLM.from_config(config), dropout=0.0)
        if bidirectional:
            with pytest.raises(ValueError, match="is not causal"):
                check_read_out(encoder)
        else:
            check_read_out(encoder)


def test_adapters_change_the_read_out_and_freeze_the_base(toy_graph, table):
    lm = AutoModelForCausalLM.from_config(FAMILIES["llama"])
    lora = lora_config()
    encoder = DualViewLM(add_lora(lm, lora), dropout=0.0)
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    batch = collate(toy_graph.directed("train"), table, num_groups=3)
    arguments = (batch.input_ids, batch.entity_sites, batch.query_sites, batch.label_positions)
    before = encoder(*arguments).query_embeddings.detach()
    with torch.no_grad():
        for name, parameter in encoder.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    assert not torch.allclose(before, encoder(*arguments).query_embeddings)
