"""The fast look at a request never lets through what the thorough one refuses."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pdp.core.lawful_request import faults_of_request, lawful_at_a_glance
from pdp.core.model import Request

texts = st.text("aZ0.:/*-_~ \n\x00é", max_size=8) | st.sampled_from(["a", "rows.read", "a" * 2049, "prod/users", ".."])


requests = st.builds(
    Request,
    texts,
    texts,
    st.tuples(texts, texts).map(":".join),
    session=texts,
    task=texts,
    subject_type=texts,
    request_id=texts,
)


@settings(max_examples=300, deadline=None)
@given(requests)
@example(Request("a", "b" * 3000, "c:d"))
@example(Request("a", "b", "c:" + "d" * 3000))
@example(Request("a", "b.c", "d:e/f.g/h", session="s-1", task="t-1", subject_type="workload", request_id="r-1"))
def test_a_glance_is_never_more_lenient(request: Request) -> None:
    """A request that looks lawful has no faults."""
    if not lawful_at_a_glance(request):
        return
    type_, _, id_ = request.resource.partition(":")
    faults = faults_of_request(
        subject=request.subject,
        action=request.action,
        resource_type=type_,
        resource_id=id_,
        subject_type=request.subject_type,
        session=request.session,
        task=request.task,
        request_id=request.request_id,
    )
    assert faults == []
