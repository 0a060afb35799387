"""What `launch/data.py` does with a graph; it never trains."""

from pathlib import Path

from kalm.config import PreparationConfig
from kalm.data import read_graph, read_negatives
from kalm.graph.coverage import coverage, shown
from kalm.graph.formats.own import write_graph
from kalm.model.loading import load_tokenizer
from kalm.preparation import report
from kalm.text.token_table import cached_token_table


def prepare(config: PreparationConfig) -> None:
    """Show a graph, or write it in kalm's own form.

    Raises:
        ValueError: the graph or the tokenizer cannot be read, or the new folder cannot be written.
    """
    graph = read_graph(config.data)
    if config.command.value == "import":
        assert config.to is not None
        folder = Path(config.to).expanduser()
        negatives = {split: read_negatives(config.data, graph, split) for split in ("valid", "test")}
        write_graph(graph, folder, negatives)
        print("\n".join([*shown(graph), coverage(graph), f"written to {folder}; read it with data.path={folder}"]))
        return
    report.print_reading(graph)
    report.print_splits(graph)
    report.print_texts(graph, config.num_shown)
    report.print_leaks(graph, config.num_shown)
    report.print_histograms(graph, config.num_shown)
    tokenizer = load_tokenizer(config.model, config.template, graph)
    table = cached_token_table(graph, tokenizer, config.template, config.data.cache_folder)
    report.print_lengths(graph, table, tokenizer, config.num_shown)
    report.print_sequences(graph, table, tokenizer, config.template, config.num_shown)
