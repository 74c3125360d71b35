"""Whatever stops in between: what must arrive does, in order, and each routine allow that does not is counted."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from pdp.evidence.telemetry.backlog import Portion
from tests.unit.test_evidence_backlog import Process, allow, denial, names_of

steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.text("dau", min_size=1, max_size=8)),  # denials, allows, unsampled allows
        st.tuples(st.just("export"), st.integers(1, 5)),
        st.tuples(st.just("outage"), st.text("da", min_size=1, max_size=12)),
        st.tuples(st.just("kill"), st.integers(0, 1)),
    ),
    max_size=40,
)


class Story:
    """A journal, its exporter over all its lives, and who gets what it sends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.process = Process(directory, segment_bytes=600)
        self.must: list[str] = []
        self.routine: list[str] = []
        self.arrived: list[str] = []
        self.lost_before = 0
        self.unheard = False
        """Something has arrived of which the exporter could not say so before it was killed."""
        self._taken: Portion | None = None

    @property
    def lost(self) -> int:
        """What was counted as lost over all."""
        return self.lost_before + self.process.lost

    def write(self, kinds: str) -> None:
        """Record decisions."""
        for kind in kinds:
            name = f"{kind}{self.process.end}"
            self.process.write(denial(name) if kind == "d" else allow(name, sampled=kind == "a"))
            if kind != "u":
                (self.must if kind == "d" else self.routine).append(name)

    def export(self, most: int) -> bool:
        """Export a portion, maybe one that was taken before; return whether there was one."""
        self._taken = self._taken or self.process.take(most)
        if self._taken is None:
            return False
        self.arrived += names_of(self._taken)
        self.process.backlog.acknowledge(self._taken)
        self._taken = None
        return True

    def outage(self, kinds: str) -> None:
        """Record decisions while a portion cannot be exported."""
        self._taken = self._taken or self.process.take(5)
        self.write(kinds)
        self.process.backlog.give_up(self.process.end)

    def kill(self, arrives: int) -> None:
        """Have the process killed, maybe after its portion has arrived; the next one is told how far it was."""
        if arrives and self._taken is not None:
            self.arrived += names_of(self._taken)
            self.unheard = True
        self._taken = None
        self.lost_before += self.process.lost
        self.process = Process(self._directory, segment_bytes=600, progress=self.process.backlog.progress)


@given(steps)
def test_what_must_arrive_does_and_what_need_not_is_counted_if_it_does_not(some: list[tuple[str, object]]) -> None:
    """In the order of the journal, at least once; nothing is counted twice."""
    with TemporaryDirectory() as directory:
        story = Story(Path(directory))
        for verb, argument in some:
            getattr(story, verb)(argument)
        while story.export(5):
            pass
        first = list(dict.fromkeys(story.arrived))
        assert [name for name in first if name in set(story.must)] == story.must
        routine = [name for name in first if name in set(story.routine)]
        assert routine == sorted(routine, key=story.routine.index)
        assert len(routine) + story.lost >= len(story.routine)
        if not story.unheard:
            assert (len(routine) + story.lost, story.arrived) == (len(story.routine), first)


@given(steps)
def test_a_sidecar_that_is_killed_exports_again_what_the_cursor_on_disk_does_not_say(
    some: list[tuple[str, object]],
) -> None:
    """Its successor knows no more than that."""
    with TemporaryDirectory() as directory:
        story = Story(Path(directory))
        for verb, argument in some:
            if verb == "kill":
                story.process = Process(Path(directory), segment_bytes=600)
                story._taken = None
            else:
                getattr(story, verb)(argument)
            if argument == 1:
                story.process.backlog.save()
        while story.export(5):
            pass
        assert [name for name in dict.fromkeys(story.arrived) if name in set(story.must)] == story.must
