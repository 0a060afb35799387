"""Facts and paths in plain sentences, without a model."""

from collections.abc import Iterable, Sequence

from kalm.config import Phrase
from kalm.graph.paths import Path, Step


class Verbaliser:
    """Sentences by template; each begins with the entity that the path comes from, where its phrase does.

    Args:
        names: of the entities, (N,).
        phrases: of the relations, (R,).
    """

    def __init__(self, names: Sequence[str], phrases: Sequence[Phrase]) -> None:
        self._names, self._phrases = names, phrases

    def sentence(self, step: Step) -> str:
        """One fact."""
        phrase = self._phrases[step.relation]
        template = phrase.forward if step.direction == "tail" else phrase.backward
        text = template.format(head=self._names[step.head], tail=self._names[step.tail])
        # a name may end in the stop that ends the sentence: `Robert Downey Jr.`
        return text[:-1] if text.endswith("..") and not text.endswith("...") else text

    def sentences(self, paths: Iterable[Path]) -> list[str]:
        """The facts of the paths, in their order, each once."""
        said: dict[tuple[int, int, int], str] = {}
        for path in paths:
            for step in path.steps:
                said.setdefault((step.head, step.relation, step.tail), self.sentence(step))
        return list(said.values())
