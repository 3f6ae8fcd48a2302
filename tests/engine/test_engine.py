"""The section `engine` of params.yaml."""

import pytest

from stages.engine import engine
from stages.engine.engine import Engine
from stages.engine.errors import InputError


def test_the_section_reaches_the_process(monkeypatch):
    assert engine.configured() == Engine()
    chosen = engine.of({"kind": "ray", "address": "10.0.0.1:6379", "memory": 2})
    for name, value in engine.exported(chosen).items():
        monkeypatch.setenv(name, value)
    assert engine.configured() == chosen == Engine("ray", "10.0.0.1:6379", memory=2)


BAD = {
    "kind: is 'slurm'; choose one of local, ray": {"kind": "slurm"},
    "device: is 'tpu'; choose one of auto, cpu, cuda": {"device": "tpu"},
    "unknown parameter 'cores'; it has kind, address": {"cores": 2},
    "cpus: is 0; give at least 1": {"cpus": 0},
    "gpus: is -0.5; give at least 0": {"gpus": -0.5},
    "cpus: 1.5 is float, expected int": {"cpus": 1.5},
    "workers: is 2, which needs Ray": {"workers": 2},
    "address: 'somewhere' is no address of a cluster": {"kind": "ray", "address": "somewhere"},
    "address: 'host:99999' is no": {"kind": "ray", "address": "host:99999"},
    "address: 'http://host:80' is no": {"kind": "ray", "address": "http://host:80"},
}


@pytest.mark.parametrize("line", BAD)
def test_a_bad_section_is_named(line):
    with pytest.raises(InputError) as error:
        engine.of(BAD[line])
    assert str(error.value).startswith("params.yaml, engine") and line in str(error.value)
