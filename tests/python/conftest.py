import pytest

from cli import SENTIMENT, lathe_json


@pytest.fixture(scope="session")
def sentiment_plan(tmp_path_factory):
    """A plan of the bundled sentiment model, built once."""
    plan = tmp_path_factory.mktemp("plans") / "sentiment.plan"
    lathe_json("build", SENTIMENT, "-o", plan)
    return plan
