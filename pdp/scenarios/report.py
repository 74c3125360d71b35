"""Results of scenarios, for people and for build servers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from pdp.scenarios.runner import Results, ScenarioResult
from pdp.scenarios.telling import Failure

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def results_text(results: Results) -> str:
    """Return one line for each scenario, each failure with expected and actual, and a summary."""
    lines = [line for result in results.results for line in _lines_of_result(result)]
    return "\n".join([*lines, summary_text(results)]) + "\n"


def summary_text(results: Results) -> str:
    """Return `3 scenarios: 2 passed, 1 failed`."""
    failed, all_ = len(results.failed), len(results.results)
    if not all_:
        return "no scenarios were found"
    return f"{all_} scenario{'s' if all_ != 1 else ''}: {all_ - failed} passed, {failed} failed"


def junit_xml(results: Results) -> str:
    """Return a JUnit report: one suite for each file, one case for each scenario.

    A story that went otherwise is a failure; a file that could not be read, or a driver that did not answer, an error.
    """
    root = Element("testsuites", name="pdp test", tests=str(len(results.results)))
    for source, group in groupby(results.results, lambda result: result.source):
        cases = list(group)
        suite = SubElement(root, "testsuite", name=_clean(source), tests=str(len(cases)))
        suite.set("failures", str(sum(not case.passed and not _is_error(case) for case in cases)))
        suite.set("errors", str(sum(map(_is_error, cases))))
        suite.set("time", f"{sum(case.seconds for case in cases):.6f}")
        for case in cases:
            _add_case(suite, case)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _add_case(suite: Element, result: ScenarioResult) -> None:
    case = SubElement(suite, "testcase", name=_clean(result.name), classname=_clean(result.source))
    case.set("file", _clean(result.source))
    case.set("time", f"{result.seconds:.6f}")
    if result.passed:
        return
    lines = [line for failure in result.failures for line in failure_lines(failure, result.source)]
    lines += map(str, result.problems)
    outcome = SubElement(case, "error" if _is_error(result) else "failure", message=_clean(lines[0]))
    outcome.text = _clean("\n".join(lines))


def _is_error(result: ScenarioResult) -> bool:
    return bool(result.problems) or any(failure.error for failure in result.failures)


def _lines_of_result(result: ScenarioResult) -> Iterator[str]:
    if result.passed:
        yield f"passed  {result.name} ({result.steps} steps)"
        return
    yield f"failed  {result.name}"
    for failure in result.failures:
        yield from ("  " + line for line in failure_lines(failure, result.source))
    for problem in result.problems:
        yield f"  {problem}"


def failure_lines(failure: Failure, source: str) -> Iterator[str]:
    """Yield where a step failed, how expected and actual differ, the actual reasons, and the remedy."""
    yield f"{source}:{failure.line}: {failure.step}" + (f": {failure.error}" if failure.error else "")
    for difference in failure.differences:
        yield f"  {difference.field}:"
        yield f"    expected: {difference.expected}"
        yield f"    actual:   {difference.actual}"
    if failure.reasons:
        yield "  reasons:"
        yield from (f"    {reason}" for reason in failure.reasons)
    if failure.remedy:
        yield f"  remedy: {failure.remedy}"


def _clean(text: str) -> str:
    """Return the text without characters that XML cannot carry."""
    return _NOT_IN_XML.sub("\ufffd", text)
