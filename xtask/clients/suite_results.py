"""A pytest plugin that writes how each test ended: one line with a word, a tab and the test's name."""

import os

WORST = ("passed", "skipped", "failed")
outcomes = {}


def pytest_runtest_logreport(report):
    name = report.nodeid
    if report.failed:
        outcome = "failed"
    elif report.skipped:
        # A test that is expected to fail and does so tells nothing either.
        outcome = "skipped"
    elif report.when == "call":
        outcome = "passed"
    else:
        return
    before = outcomes.get(name, "passed")
    outcomes[name] = max(before, outcome, key=WORST.index)


def pytest_sessionfinish(session, exitstatus):
    with open(os.environ["SUITE_RESULTS"], "w", encoding="utf-8") as file:
        for name, outcome in outcomes.items():
            file.write(f"{outcome}\t{name}\n")
