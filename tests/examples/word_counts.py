import json
from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Node
from msm_ray.rows.tables import read_rows
from msm_ray.stages.chats import Chats


@dataclass(frozen=True, kw_only=True)
class WordCounts(Node):
    kind: ClassVar[str] = "word-counts"
    chats: Chats  # a field that holds a node is an input
    least: int = 2  # every other field is a setting

    def make(self, work: Work["WordCounts"], machine: Any) -> Counts:
        rows = read_rows(work.folder(self.chats) / "data", ["messages"])
        words = Counter(word for row in rows for turn in row["messages"] for word in turn["content"].split())
        listed = {word: count for word, count in words.most_common() if count >= self.least}
        (work.out / "words.json").write_text(json.dumps(listed))
        return {"rows": len(listed)}
