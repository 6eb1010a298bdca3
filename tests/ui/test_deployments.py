"""Deployments in Docker, from a notebook in a real browser: started, seen, and ended."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import docker
import pytest

from tests.fake_lmlite import ECHO_IMAGE, ECHO_IN_IMAGE
from tests.ui.lab import LabPage
from tests.waiting import until_true

# A browser or a container, and a model server in it or beside it.
pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.needs("chromium")]

BOXED = """from dataclasses import dataclass
import conduit_nb
from conduit_nb import ConduitError, CustomBlock, LmLiteModelConfig

@dataclass
class Text:
    text: str

boxed = CustomBlock(
    [LmLiteModelConfig("echo")], compute_provider="docker", image={image!r}, command={command}
)
try:
    print(boxed(input=Text("here"), output=Text))
except ConduitError as error:  # it is no model, and what it says need not fit
    print("said:", type(error).__name__)"""


@pytest.mark.needs("docker")
class TestDocker:
    def test_a_container_lives_from_the_first_call_to_terminate(
        self, first_cell: str, lab: LabPage, engine: str
    ):
        name = lab.server.write(
            "docker.ipynb",
            first_cell,
            BOXED.format(image=ECHO_IMAGE, command=("python3", ECHO_IN_IMAGE, "--port", "{port}")),
            "%conduit ps",
            "print('named', *(row.name for row in conduit_nb.ps() if row.provider == 'docker'))",
        )
        lab.open(name)
        with closing(docker.DockerClient(base_url=engine)) as client:
            lab.run_all()
            lab.output("named", seconds=120)
            assert "running" in lab.outputs()
            (deployment,) = re.findall(r"^named (\S+)$", lab.outputs(), re.MULTILINE)
            (container,) = client.containers.list()
            assert container.image.tags == [ECHO_IMAGE]

            words = ("stop", "start", "restart", "extend", "logs", "terminate")
            cells = [f"%conduit {word} {deployment}" for word in words]
            lab.open(lab.server.write("words.ipynb", first_cell, *cells))
            lab.run_all()
            lab.output("terminated", seconds=120)

            said = [lab.text_of_cell(number) for number in range(1, len(words) + 1)]
            assert "stopped" in said[0]
            for number in (1, 2, 3):
                assert "running" in said[number], words[number]
            assert "Error" not in said[4], said[4]
            until_true(lambda: not client.containers.list(all=True))

    def test_another_installation_sees_it_and_takes_it_over_only_by_name(
        self, first_cell: str, lab: LabPage, engine: str, tmp_path: Path
    ):
        image = BOXED.format(
            image=ECHO_IMAGE, command=("python3", ECHO_IN_IMAGE, "--port", "{port}")
        )
        lab.open(lab.server.write("here.ipynb", first_cell, image, "print('begun')"))
        lab.run_all()
        lab.output("begun", seconds=120)
        with closing(docker.DockerClient(base_url=engine)) as client:
            (container,) = client.containers.list()
            elsewhere = "\n".join(
                f"os.environ['CONDUIT_{kind}_DIR'] = {str(tmp_path / kind)!r}"
                for kind in ("STATE", "DATA")
            )
            name = lab.server.write(
                "elsewhere.ipynb",
                f"import os\n{elsewhere}",
                first_cell,
                "%conduit ps --all",
                "%conduit cleanup",
                f"%conduit attach {container.name}",
                "%conduit terminate all",
                "print('at the end')",
            )
            lab.open(name)
            lab.run_all()
            lab.output("at the end", seconds=120)

            said = [lab.text_of_cell(number) for number in range(2, 6)]
            assert "of another installation" in said[0]
            assert container.name not in said[1]
            assert "running" in said[2]
            assert "terminated" in said[3]
            until_true(lambda: not client.containers.list(all=True))
