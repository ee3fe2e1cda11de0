"""schemathesis asks the server for everything that its schema allows, and some that it forbids.

``GAR_VIDEO_SCHEMA_EXAMPLES`` sets how many requests are made of each operation.
"""

from __future__ import annotations

import os

import pytest

schemathesis = pytest.importorskip("schemathesis", reason="needs gar-video[test]")

import httpx  # noqa: E402
from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402

EXAMPLES = int(os.environ.get("GAR_VIDEO_SCHEMA_EXAMPLES", "8"))
_COUNT = {"requests": 0}

OPERATIONS = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/answers"),
    ("POST", "/v1/videos"),
    ("PATCH", "/v1/videos/{video_id}"),
    ("GET", "/v1/videos/{video_id}"),
    ("DELETE", "/v1/videos/{video_id}"),
    ("POST", "/v1/tracks"),
    ("GET", "/v1/tracks/{tracks_id}"),
    ("GET", "/v1/tracks/{tracks_id}/file"),
    ("GET", "/v1/tracks/{tracks_id}/events"),
    ("DELETE", "/v1/tracks/{tracks_id}"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{name}"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/metrics"),
]


@pytest.fixture(scope="module")
def schema(house):
    return schemathesis.openapi.from_url(f"{house.url}/openapi.json")


def test_all_operations_are_asked(house):
    paths = httpx.get(f"{house.url}/openapi.json").json()["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert there == set(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path"), [pytest.param(*one, id=" ".join(one)) for one in OPERATIONS]
)
@pytest.mark.parametrize("manner", ["positive", "negative"])
def test_nothing_makes_it_fail(schema, house, method, path, manner):
    """No request of any shape ends in a fault of the server."""
    operation = schema[path][method]
    mode = schemathesis.GenerationMode(manner)
    try:
        strategy = operation.as_strategy(generation_mode=mode)
    except Exception as error:  # nothing about this operation can be wrong
        pytest.skip(f"no {manner} requests: {error}")

    @seed(1)
    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=strategy)
    def ask(case):
        _COUNT["requests"] += 1
        answer = case.call(base_url=house.url, timeout=60)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

    try:
        ask()
    except Exception as error:
        if "Unsatisfiable" in type(error).__name__ or "Skip" in type(error).__name__:
            pytest.skip(f"no {manner} requests")
        raise


def test_the_server_lives(house):
    print(f"{_COUNT['requests']} requests were made")
    assert httpx.get(f"{house.url}/readyz").json() == {"status": "ready"}
