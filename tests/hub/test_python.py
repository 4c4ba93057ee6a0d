"""A round trip over the Hub by the Python interface."""

import json

from .test_round_trip import run

PUSH = """
import json, zooadapt
texts = ["three red apples", "TEN GREEN PEARS", "four blue plums", "SIX OLD FIGS"] * 5
model = zooadapt.adapt("rnn:english", (texts, ["quiet", "loud"] * 10), strategy="probe")
done = model.push("me/python-trip")
one, = model.predict(["NINE ripe GRAPES"])
print(json.dumps([done.commit, done.public, one.probabilities, model.report["test"]]))
"""
LOAD = """
import json, zooadapt
model = zooadapt.load("me/python-trip", revision="COMMIT")
one, = model.predict(["NINE ripe GRAPES"])
folder = model.save("copy")
pulled = zooadapt.pull("me/python-trip@COMMIT", out="pulled")
assert (pulled / "model.safetensors").is_file()
[row] = zooadapt.models("me/python-trip")
assert row["cached"]["revision"] == "COMMIT"
again = zooadapt.load(folder).predict(["NINE ripe GRAPES"])[0]
assert again.probabilities == one.probabilities
names = sorted(path.name for path in folder.iterdir())
print(json.dumps([one.probabilities, model.report["test"], names]))
"""


def test_a_model_goes_to_the_hub_and_comes_back(hub, tmp_path):
    commit, public, probabilities, test = json.loads(run(hub, tmp_path / "home", "-c", PUSH))
    assert not public and hub.repos["me/python-trip"].head.files.keys() >= {"model.safetensors"}
    code = LOAD.replace("COMMIT", commit)
    *results, names = json.loads(run(hub, tmp_path / "clean", "-c", code))
    assert results == [probabilities, test]
    assert {"README.md", "config.json", "model.safetensors", "report.json"} <= set(names)
