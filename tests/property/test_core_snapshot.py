"""Folding changes one by one comes to the same as loading the facts they leave."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.core.model import KIND_OF, AnyFact, Change, Drop, FactKind, Instant, Put, RevocationTarget
from pdp.core.snapshot import Snapshot, Use
from tests.property.core_worlds import SUBJECTS, any_fact, fact_sets, laws

_FAMILY_SUBJECTS = (*SUBJECTS, "f", "f/x/y", "b")


def changes() -> st.SearchStrategy[Change]:
    """Return writes and, half as often, drops."""
    puts = any_fact().map(Put)
    return puts | puts | any_fact().map(lambda fact: Drop(KIND_OF[type(fact)], fact.id))


def loaded(snapshot: Snapshot) -> Snapshot:
    """Return a fresh snapshot of the facts that another holds."""
    fresh = Snapshot()
    for kind in FactKind:
        for fact in snapshot.facts(kind):
            fresh.put(fact)
    return fresh


def indexes(snapshot: Snapshot) -> dict[str, object]:
    """Return everything derived from the facts; the order in which ids stand beside each other means nothing."""
    views: dict[str, Mapping[Any, Collection[object]]] = {
        "sessions": snapshot.sessions_of,
        "reviews": snapshot.reviews,
        "signals": snapshot.signals_about,
        **{target: snapshot.revoked(target) for target in RevocationTarget},
    }
    families = (snapshot.families, snapshot.revocation_families)
    return {
        **{name: {key: frozenset(held) for key, held in view.items()} for name, view in views.items()},
        "families": [[family.covering(subject) for subject in _FAMILY_SUBJECTS] for family in families],
        "any family": [bool(family) for family in families],
    }


def fold(snapshot: Snapshot, commits: Sequence[Sequence[Change]]) -> Snapshot:
    """Apply the commits in turn."""
    for revision, commit in enumerate(commits, snapshot.revision + 1):
        snapshot.apply(revision, commit)
    return snapshot


@laws
@given(fact_sets(), st.lists(st.lists(changes(), max_size=4), max_size=12))
def test_folding_changes_equals_loading_what_they_leave(
    facts: Sequence[AnyFact], commits: Sequence[Sequence[Change]]
) -> None:
    """Every fact and every index, whatever was written over or dropped on the way."""
    folded = fold(Snapshot(), [list(map(Put, facts)), *commits])
    fresh = loaded(folded)
    assert indexes(folded) == indexes(fresh)
    assert folded.revocations_until >= fresh.revocations_until


@laws
@given(st.lists(changes(), max_size=20))
def test_the_last_write_of_an_id_stands(commit: Sequence[Change]) -> None:
    """What a snapshot holds is what a plain dictionary would."""
    plain: dict[tuple[FactKind, str], object] = {}
    for change in commit:
        if isinstance(change, Put):
            plain[KIND_OF[type(change.fact)], change.fact.id] = change.fact
        else:
            plain.pop((change.kind, change.id), None)
    snapshot = fold(Snapshot(), [commit])
    held = {(kind, fact.id): fact for kind in FactKind for fact in snapshot.facts(kind)}
    assert held == plain


@laws
@given(st.lists(changes(), max_size=12))
def test_dropping_everything_leaves_no_trace(commit: Sequence[Change]) -> None:
    """No index keeps an id whose fact is gone."""
    snapshot = fold(Snapshot(), [commit])
    drops = [Drop(kind, fact.id) for kind in FactKind for fact in snapshot.facts(kind)]
    assert indexes(fold(snapshot, [drops])) == indexes(Snapshot())


def test_revisions_only_grow() -> None:
    """A commit at a revision that was applied already is refused."""
    snapshot = fold(Snapshot(), [[], []])
    with pytest.raises(ValueError, match="revision 2 is not above 2"):
        snapshot.apply(2, [])


def test_a_use_is_counted_for_each_session_and_approval() -> None:
    """How often, and when last; time that runs backward does not take the last use back."""
    snapshot = Snapshot()
    snapshot.record_use(["s0", "s1"], ["p0"], Instant(7))
    snapshot.record_use(["s0"], [], Instant(5))
    uses = {id_: (use.count, use.last) for id_, use in snapshot.session_uses.items()}
    assert uses == {"s0": (2, 7), "s1": (1, 7)}
    assert snapshot.approval_uses["p0"] == Use(1, Instant(7))
