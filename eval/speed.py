"""Measure kalm beside other ways to the same result; writes runs/speed/NAME.json and prints it as a table."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEASUREMENTS = """\
step        one training step against separate forwards, the bare model, and sentence-transformers (extra: speed)
memory      peak memory of a step against its number of triples, and of the loss over a vocabulary of 128,000
scaling     two processes against one: speed, and whether the losses agree
groups      tokens/s by the number of groups of similar length
padding     share of padding by groups and micro-batches; needs --root and --tokenizer
tokens      tokenising a graph's texts; needs --root and --tokenizer
startup     starting an entry point
kale        a step of objective=kale against plain fine-tuning on the same questions
encoding    encoding a graph's entities against bare forwards; needs --root and --tokenizer (a model's folder)
generation  answers in a trie of names against free beams, and candidates behind one prompt against each text alone;
            needs --root and --tokenizer (a model's folder)
ranking     exact filtered ranks against the bare product of the same size and pykeen's evaluator
entities    ranks among 5 million entities (16 GB of memory); the best ten of them, exact and by approximate indexes
graph       reading a TSV of 5 million triples beside pykeen, and N-Triples (extra: rdf); known tails among 20 million
            triples (16 GB of memory)
paths       paths for the questions of MetaQA by each search, and beside networkx (extra: speed); needs --root; then
            landmarks and paths among 5 million entities (16 GB of memory)

Pin a measurement to one core of a shared machine: OMP_NUM_THREADS=1 taskset -c 1 python eval/speed.py step
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=MEASUREMENTS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [line.split()[0] for line in MEASUREMENTS.partition("\n\n")[0].splitlines() if line[0] != " "]
    parser.add_argument("name", choices=names, metavar="NAME", help="what to measure, see below")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats of each system (default 7)")
    parser.add_argument(
        "--batch-size", type=int, default=32, help="step, groups, kale: triples or questions per step (default 32)"
    )
    parser.add_argument("--large-batch-size", type=int, default=1024,
                        help="step: triples per step with gradient caching (default 1024)")  # fmt: skip
    parser.add_argument(
        "--source", default="wn18rr", help="padding, tokens, encoding, generation: layout of the graph (default wn18rr)"
    )
    parser.add_argument(
        "--root", type=Path, help="padding, tokens, encoding, generation, paths: folder of the graph's files"
    )
    parser.add_argument("--tokenizer", type=Path, help="padding, tokens, encoding, generation: folder of a tokenizer")
    parser.add_argument("--output", type=Path, default=Path("runs/speed"), help="folder of the result")
    arguments = parser.parse_args()
    if arguments.name in ("padding", "tokens", "encoding", "generation") and (
        arguments.root is None or arguments.tokenizer is None
    ):
        parser.error(f"{arguments.name} needs --root and --tokenizer")
    if arguments.name == "paths" and arguments.root is None:
        parser.error("paths needs --root, the folder of MetaQA's files")

    from kalm.evaluation.report import print_measurements  # heavy, as are the measurements: after --help
    from kalm.provenance import write_json

    rows = _measure(arguments)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output / f"{arguments.name}.json", rows)
    print_measurements(rows)


def _measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    from kalm.speed import (
        encoding,
        generation,
        kale,
        large_batch,
        memory,
        padding,
        paths,
        ranking,
        scaling,
        startup,
        step,
    )
    from kalm.speed.graph import measure_lookups, measure_n_triples, measure_reading
    from kalm.speed.sentence_trainer import missing_packages

    if arguments.name == "step" and (missing := missing_packages()):
        print(f"rows beside sentence-transformers left out: {', '.join(missing)} not installed (extra: speed)")
    repeats, batch_size, graph = (
        {"repeats": arguments.repeats},
        {"batch_size": arguments.batch_size},
        (arguments.source, arguments.root, arguments.tokenizer),
    )
    measure: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "step": lambda: (
            step.measure_step(**repeats, **batch_size)
            + large_batch.measure_large_batch(batch_size=arguments.large_batch_size, repeats=min(3, arguments.repeats))
        ),
        "memory": lambda: memory.measure_memory() + memory.measure_vocabulary(**repeats),
        "scaling": lambda: scaling.measure_scaling(**repeats),
        "groups": lambda: padding.measure_groups(**repeats, **batch_size),
        "padding": lambda: padding.measure_padding(*graph),
        "tokens": lambda: startup.measure_tokens(*graph, **repeats),
        "startup": lambda: startup.measure_startup(**repeats),
        "kale": lambda: kale.measure_kale(**repeats, **batch_size),
        "encoding": lambda: encoding.measure_encoding(*graph, **repeats),
        "generation": lambda: generation.measure_generation(*graph, **repeats),
        "ranking": lambda: ranking.measure_ranking(**repeats),
        "entities": lambda: ranking.measure_many_entities(**repeats) + ranking.measure_indexes(**repeats),
        "graph": lambda: [
            row for measure in (measure_reading, measure_n_triples, measure_lookups) for row in measure(**repeats)
        ],
        "paths": lambda: paths.measure_questions(arguments.root, **repeats) + paths.measure_large(**repeats),
    }
    return measure[arguments.name]()


if __name__ == "__main__":
    main()
