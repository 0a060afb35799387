"""Measure: `python eval/speed.py step|startup|tokens`; writes runs/speed/NAME.json and prints it as a table."""

import argparse
from pathlib import Path

from omegaconf import OmegaConf

from kalm.composition import to_dataclass
from kalm.config import TemplateConfig
from kalm.evaluation import speed
from kalm.evaluation.report import print_measurements
from kalm.provenance import write_json

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=["step", "startup", "tokens"], help="what to measure")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats of each system (default 7)")
    parser.add_argument("--batch-size", type=int, default=32, help="step: triples per step (default 32)")
    parser.add_argument("--source", default="wn18rr", help="tokens: the graph's layout (default wn18rr)")
    parser.add_argument("--root", type=Path, help="tokens: folder of the graph's files")
    parser.add_argument("--tokenizer", type=Path, help="tokens: folder of a tokenizer")
    parser.add_argument("--output", type=Path, default=Path("runs/speed"), help="folder of the result")
    arguments = parser.parse_args()
    if arguments.name == "tokens" and (arguments.root is None or arguments.tokenizer is None):
        parser.error("tokens needs --root and --tokenizer")
    if arguments.name == "step":
        rows = speed.measure_step(batch_size=arguments.batch_size, repeats=arguments.repeats)
    elif arguments.name == "startup":
        rows = speed.measure_startup(repeats=arguments.repeats)
    else:
        composed = OmegaConf.load(ROOT / "conf/template/plain.yaml")
        template = to_dataclass(composed, TemplateConfig)
        rows = speed.measure_tokens(
            arguments.source, arguments.root, arguments.tokenizer, template, repeats=arguments.repeats
        )
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_json(arguments.output / f"{arguments.name}.json", rows)
    print_measurements(rows)


if __name__ == "__main__":
    main()
