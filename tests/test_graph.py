"""The engine room on a graph of another project, a garden and a tale of it: no stage of ours has a part in this."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from msm_ray.errors import OutOfMeans, QualityGateError, SettingsError, StageError
from msm_ray.graph import planning, running
from msm_ray.graph.artifacts import commit
from msm_ray.graph.heads import add_places, first_ids
from msm_ray.graph.making import Work
from msm_ray.graph.node import Counts, Graph, Node, extent, graph_of
from msm_ray.graph.running import Wishes, Workplace
from msm_ray.graph.store import ArtifactStore
from msm_ray.look import status
from msm_ray.look.cleaning import removals
from msm_ray.look.entries import read_root


class Gardener:
    """The machine of these nodes: notes what is made, and does instead what a test tells it to."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.instead: dict[str, Callable[[Work[Any]], Counts]] = {}
        self.group: Callable[[Sequence[Work[Any]]], None] | None = None

    def make(self, work: Work[Any]) -> Counts:
        """Write a file, unless told otherwise."""
        if work.node.key in self.instead:
            return self.instead[work.node.key](work)
        (work.out / "data").write_text(work.node.key)
        self.made.append(work.node.key)
        return {"rows": 1}


@dataclass(frozen=True, kw_only=True)
class Seeds(Node):
    kind: ClassVar[str] = "seeds"
    editable: ClassVar[frozenset[str]] = frozenset({"label.txt"})
    sort: str = "pea"

    def make(self, work: Work[Seeds], machine: Gardener) -> Counts:
        (work.out / "label.txt").write_text(self.sort)
        return machine.make(work)


@dataclass(frozen=True, kw_only=True)
class Plant(Node):
    kind: ClassVar[str] = "plant"
    group: ClassVar[str] = "bed"
    seeds: Seeds
    water: float = 0.5

    def make(self, work: Work[Plant], machine: Gardener) -> Counts:
        return machine.make(work)

    @classmethod
    def make_all(cls, works: Sequence[Work[Any]], machine: Gardener) -> None:
        if machine.group:
            machine.group(works)
        else:
            super().make_all(works, machine)


@dataclass(frozen=True, kw_only=True)
class Fruit(Node):
    kind: ClassVar[str] = "fruit"
    group: ClassVar[str] = "bed"
    plant: Plant

    def make(self, work: Work[Fruit], machine: Gardener) -> Counts:
        return machine.make(work)


@dataclass(frozen=True, kw_only=True)
class Tale(Node):
    kind: ClassVar[str] = "tale"
    derived: ClassVar[bool] = True
    fruits: tuple[Fruit, ...]

    def make(self, work: Work[Tale], machine: Gardener) -> Counts:
        return machine.make(work)


KINDS = (Seeds, Plant, Fruit, Tale)


def garden(water: float = 0.5, sort: str = "pea") -> Graph:
    """Two rows of a garden, and a tale of both."""
    plants = [Plant(name=name, seeds=Seeds(name=name, sort=sort), water=water) for name in ("north", "south")]
    tale = Tale(name="summer", fruits=tuple(Fruit(name=plant.name, plant=plant) for plant in plants))
    return graph_of([tale], KINDS)


class Garden:
    """A root, a gardener, and runs."""

    def __init__(self, root: Path):
        self.store, self.gardener = ArtifactStore(root), Gardener()

    def run(self, graph: Graph, **wishes: Any) -> list[str]:
        """What was made, in order."""
        self.gardener.made.clear()

        @contextmanager
        def opened() -> Iterator[Any]:
            yield self.gardener, lambda made, there: None

        place = Workplace("garden", self.store.root / "logs", lambda todo, reporter: None, opened)
        with self.store.lock():
            running.run(graph, self.store, Wishes(**wishes), place)
        return self.gardener.made

    def states(self, graph: Graph) -> dict[str, str]:
        """Key -> state."""
        return {p.node.key: p.found.state for p in planning.plan(graph, self.store)}


@pytest.fixture
def ground(tmp_path: Path) -> Garden:
    return Garden(tmp_path / "root")


def test_a_run_makes_everything_once_in_order(ground: Garden) -> None:
    assert ground.run(garden()) == [
        "seeds/north", "seeds/south", "plant/north", "plant/south", "fruit/north", "fruit/south", "tale/summer",
    ]  # fmt: skip
    assert ground.run(garden()) == []


def test_until_stops_after_a_kind(ground: Garden) -> None:
    assert ground.run(garden(), until="seeds") == ["seeds/north", "seeds/south"]


def test_every_field_is_identity_and_names_are_not() -> None:
    plant = Plant(name="north", seeds=Seeds(name="north"))
    assert plant.settings == {"content_version": 1, "water": 0.5}
    assert replace(plant, name="other").settings == plant.settings
    assert list(plant.roles) == ["seeds"]
    assert list(garden().of_kind("tale")[0].roles) == ["fruits/north", "fruits/south"]


def test_two_different_nodes_of_one_name_are_refused() -> None:
    fruits = tuple(
        Fruit(name=name, plant=Plant(name="north", seeds=Seeds(name="north"), water=water))
        for name, water in (("a", 0.5), ("b", 0.6))
    )
    with pytest.raises(ValueError, match="plant/north"):
        graph_of([Tale(name="summer", fruits=fruits)], KINDS)


def test_an_input_that_is_none_is_out_of_reach(ground: Garden) -> None:
    def greedy(work: Work[Any]) -> Counts:
        work.folder(work.node.plant.seeds)
        return {}

    ground.gardener.instead["fruit/north"] = greedy
    with pytest.raises(StageError, match="KeyError: 'seeds/north'"):
        ground.run(garden())


def test_a_forced_node_takes_those_of_its_group_along_that_go_on_from_it(ground: Garden) -> None:
    ground.run(garden())
    assert ground.run(garden(), force=("plant/north",)) == [
        "plant/north",
        "fruit/north",
    ]  # equal bytes: the tale is right
    assert ground.run(garden()) == []


def test_an_interrupted_force_goes_on_and_wipes_nothing_twice(ground: Garden) -> None:
    ground.run(garden())

    def interrupted(work: Work[Any]) -> Counts:
        (work.out / "half").write_text("paid for")
        raise KeyboardInterrupt

    ground.gardener.instead["seeds/south"] = interrupted
    with pytest.raises(KeyboardInterrupt):
        ground.run(garden(), force=("seeds",))
    ground.gardener.instead.clear()
    half = ground.store.root / "seeds/south@1/half"
    assert half.exists()
    with pytest.raises(SettingsError, match="plant"):  # the half file makes other seeds than before: said, not hidden
        ground.run(garden(), force=("seeds",))
    assert ground.gardener.made == ["seeds/south"]
    assert half.exists()


def test_a_changed_setting_stops_with_its_name_and_both_ways_on_and_has_wiped_nothing(ground: Garden) -> None:
    ground.run(garden())
    before = {a.folder: a.digest for a in ground.store.all()}
    with pytest.raises(SettingsError) as caught:
        ground.run(garden(water=0.6), force=("seeds/north",))
    assert "plant/north: water: 0.5 there, 0.6 wanted" in str(caught.value)
    assert "--new-version" in str(caught.value) and "--force plant" in str(caught.value)
    assert {a.folder: a.digest for a in ground.store.all()} == before
    assert ground.run(garden(water=0.6), new_version=True)[:2] == ["plant/north", "plant/south"]
    assert ground.run(garden()) == []  # the first version is still there


def test_a_failing_node_stops_what_depends_on_it_and_nothing_else(
    ground: Garden, capsys: pytest.CaptureFixture[str]
) -> None:
    def dry(work: Work[Any]) -> Counts:
        raise QualityGateError("not a drop of rain")

    def bug(work: Work[Any]) -> Counts:
        raise KeyError("a bug")

    ground.gardener.instead |= {"plant/north": dry, "fruit/south": bug}
    with pytest.raises(QualityGateError) as caught:  # the first failure's kind, and so its exit code
        ground.run(garden())
    lines = str(caught.value).splitlines()
    assert lines[0] == "plant/north failed: not a drop of rain"
    assert lines[1].startswith("2 stages wait for it: fruit/north")
    assert lines[2] == "fruit/south failed: not foreseen, please report it: KeyError: 'a bug'"
    said = capsys.readouterr()
    assert "KeyError: 'a bug'" in said.err  # with its traceback
    assert "4 left: plant/north" in said.err and "go on with" in said.err
    assert ground.gardener.made == ["seeds/north", "seeds/south", "plant/south"]
    told = status.read(ground.store.root)
    assert (told["state"], told["exit_code"]) == ("failed", 4)
    by_state = {state: {k for k, s in told["stages"].items() if s["state"] == state} for state in status.ORDER}
    assert by_state["failed"] == {"plant/north", "fruit/south"}
    assert by_state["waiting"] == {"fruit/north", "tale/summer"}
    assert told["stages"]["fruit/south"]["why"] == "'a bug'"
    ground.gardener.instead.clear()
    assert ground.run(garden()) == ["plant/north", "fruit/north", "fruit/south", "tale/summer"]


@pytest.mark.parametrize("error", [OutOfMeans("quota"), OSError(28, "No space left on device")])
def test_spent_means_and_a_full_disk_stop_everything(ground: Garden, error: Exception) -> None:
    def broke(work: Work[Any]) -> Counts:
        raise error

    ground.gardener.instead["seeds/north"] = broke
    with pytest.raises(type(error)):
        ground.run(garden())
    assert ground.gardener.made == []


def test_an_error_that_ends_a_group_leaves_what_was_committed_and_goes_on_with_the_rest(ground: Garden) -> None:
    def crash(works: Sequence[Work[Any]]) -> None:
        by_key = {work.node.key: work for work in works}
        by_key["plant/north"].finish(ground.gardener.make(by_key["plant/north"]))
        second = by_key["fruit/north"]
        commit(
            second.out, second.record, ground.gardener.make(second)
        )  # by its worker, whose driver then met the error
        raise StageError("hail")

    ground.gardener.group = crash
    with pytest.raises(StageError, match="hail"):
        ground.run(garden())
    assert ground.states(garden())["fruit/north"] == "present"
    ground.gardener.group = None
    assert ground.run(garden()) == ["plant/south", "fruit/south", "tale/summer"]


def test_a_root_that_was_copied_halfway_is_named_and_never_built_on(ground: Garden) -> None:
    ground.run(garden())
    (ground.store.root / "seeds/north@1/data").unlink()
    (ground.store.root / "fruit/south@1/data").write_text("")
    for force in ((), ("tale",)):
        with pytest.raises(SettingsError) as caught:
            ground.run(garden(), force=force)
        assert "seeds/north@1 is not what was committed: data is missing" in str(caught.value)
        assert "fruit/south@1 is not what was committed: data is empty" in str(caught.value)
        assert ground.gardener.made == []
    assert [k for k, state in ground.states(garden()).items() if state != "present"] == ["seeds/north", "fruit/south"]
    assert ground.run(garden(), force=("seeds/north", "fruit/south")) == ["seeds/north", "fruit/south"]


def test_a_file_that_people_may_edit_is_used_as_it_is_and_what_was_made_from_it_is_stale(ground: Garden) -> None:
    ground.run(garden())
    (ground.store.root / "seeds/north@1/label.txt").write_text("bean")
    with (
        pytest.warns(UserWarning, match="seeds/north: label.txt was edited"),
        pytest.raises(SettingsError, match="plant/north: input seeds/north"),
    ):
        ground.run(garden())
    with pytest.warns(UserWarning, match="edited"):
        assert ground.run(garden(), new_version=True) == ["plant/north", "fruit/north"]  # of one group


def test_what_another_version_of_the_code_made_is_stale_and_says_why(
    ground: Garden, monkeypatch: pytest.MonkeyPatch
) -> None:
    ground.run(garden())
    monkeypatch.setattr(Seeds, "version", 2)
    with pytest.raises(SettingsError, match="seeds/north: made by a version of msm_ray that makes other seeds"):
        ground.run(garden())


def test_an_artifact_of_an_earlier_contract_is_refused_in_one_sentence(ground: Garden) -> None:
    ground.run(garden())
    record = ground.store.root / "seeds/north@1/artifact.json"
    record.write_text(record.read_text().replace('"format": 2', '"form": 1'))
    with pytest.raises(SettingsError) as caught:
        ground.run(garden())
    assert "an earlier version of msm_ray made seeds/north@1" in str(caught.value)
    with pytest.raises(SettingsError, match="an earlier version of msm_ray"):
        list(ground.store.verify())  # no damage: it is whole, and of another contract
    assert "\n" not in str(caught.value)


# Stages that grow -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class Harvest(Node):
    """Row by row; row 3 is rejected at the first try and accepted later."""

    kind: ClassVar[str] = "harvest"
    sort: str = "pea"
    asked: int = extent()

    def make(self, work: Work[Harvest], machine: Gardener) -> Counts:
        machine.made.append(self.key)
        there = {path.name for path in work.out.glob("row-*")}
        accepted = [n for n in range(self.asked) if n != 3 or "tried" in {p.name for p in work.out.iterdir()}]
        for n in accepted:
            if f"row-{n}" not in there:
                (work.out / f"row-{n}").write_text(str(n))
        (work.out / "tried").write_text("")
        add_places(work.out, [{"id": f"row-{n}"} for n in accepted])
        return {"rows": len(accepted)}


@dataclass(frozen=True, kw_only=True)
class Jam(Node):
    kind: ClassVar[str] = "jam"
    harvest: Harvest
    take: int

    def taken(self, source: Node) -> int | None:
        return self.take

    def make(self, work: Work[Jam], machine: Gardener) -> Counts:
        machine.made.append(self.key)
        (work.out / "data").write_text(" ".join(first_ids(work.folder(self.harvest), self.take)))
        return {"rows": 1}


def jams(*takes: int, asked: int = 5, sort: str = "pea") -> Graph:
    harvest = Harvest(name="all", asked=asked, sort=sort)
    return graph_of([Jam(name=f"of-{take}", harvest=harvest, take=take) for take in takes], (Harvest, Jam))


def test_raising_how_far_goes_on_from_what_is_there_and_makes_no_reader_stale(ground: Garden) -> None:
    assert ground.run(jams(5)) == ["harvest/all", "jam/of-5"]
    before = {p: p.stat().st_mtime_ns for p in (ground.store.root / "harvest/all@1").glob("row-*")}
    graph = jams(5, 8, asked=8)
    assert ground.states(graph) == {"harvest/all": "missing", "jam/of-5": "present", "jam/of-8": "missing"}
    assert ground.run(graph) == ["harvest/all", "jam/of-8"]
    assert {p: p.stat().st_mtime_ns for p in before} == before  # what was written is never rewritten
    assert [f.name for f in (ground.store.root / "harvest").iterdir()] == ["all@1"]
    # Row 3 came late: it is behind those that had a place already.
    assert (ground.store.root / "jam/of-5@1/data").read_text() == "row-0 row-1 row-2 row-4"
    assert (ground.store.root / "jam/of-8@1/data").read_text() == "row-0 row-1 row-2 row-4 row-3 row-5 row-6 row-7"
    assert ground.run(graph) == []


def test_lowering_how_far_deletes_nothing_and_makes_nothing_anew(ground: Garden) -> None:
    ground.run(jams(8, asked=8))
    assert ground.run(jams(4, asked=4)) == ["jam/of-4"]
    assert (ground.store.root / "harvest/all@1/row-7").exists()
    assert ground.states(jams(8, asked=8)) == {"harvest/all": "present", "jam/of-8": "present"}


def test_an_extension_that_was_killed_goes_on_and_readers_keep_what_they_took(ground: Garden) -> None:
    ground.run(jams(5))
    node = jams(5, asked=8).nodes["harvest/all"]
    folder, _ = ground.store.begin(node, {})  # and killed here
    assert (folder.name, ground.states(jams(5, asked=8))["harvest/all"]) == ("all@1", "missing")
    assert ground.run(jams(5, asked=8)) == ["harvest/all"]


def test_an_interrupted_extension_of_an_older_version_is_gone_on_with_and_hides_nothing(ground: Garden) -> None:
    """Rows are paid for: the next run finds them, readers of the first rows stand, and nothing of it is tidied away."""
    ground.run(jams(5))
    ground.run(jams(5, sort="bean"), new_version=True)
    further = jams(5, asked=8)
    folder, _ = ground.store.begin(further.nodes["harvest/all"], {})  # and killed here
    assert folder.name == "all@1"
    assert ground.states(further) == {"harvest/all": "missing", "jam/of-5": "present"}
    entries = read_root(ground.store.root)
    assert not [r for r in removals(ground.store.root, entries) if r.folder == folder]
    assert ground.run(further) == ["harvest/all"]
    assert sorted(f.name for f in (ground.store.root / "harvest").iterdir()) == ["all@1", "all@2"]
    assert (folder / "row-7").exists()


def test_rows_that_are_not_what_a_reader_took_make_it_stale(ground: Garden) -> None:
    ground.run(jams(5))
    places = ground.store.root / "harvest/all@1/places.txt"
    places.write_text(places.read_text().replace("row-1 ", "row-9 "))
    with pytest.raises(SettingsError, match="places.txt has"):
        ground.run(jams(5))


def test_another_harvest_is_another_version_beside_the_first(ground: Garden) -> None:
    ground.run(jams(5))
    with pytest.raises(SettingsError, match="harvest/all: sort: pea there, bean wanted"):
        ground.run(jams(5, sort="bean", asked=9))
    assert ground.run(jams(5, sort="bean", asked=9), new_version=True)[0] == "harvest/all"
    assert sorted(f.name for f in (ground.store.root / "harvest").iterdir()) == ["all@1", "all@2"]
