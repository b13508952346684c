"""What is installed into vLLM: the same modules under their other name, and for which vLLM."""

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import torch

from models.handover.sampling import expand
from models.handover.versions import ANYWAY, Unsupported, is_tried, require_tried

HANDOVER = Path(__file__).parents[2] / "models/handover"


def test_the_package_needs_nothing_of_the_gateway(tmp_path: Path) -> None:
    (tmp_path / "smallfirst_handover").symlink_to(HANDOVER)
    program = (
        "import sys; import smallfirst_handover.drafts, smallfirst_handover.versions; "
        "sys.exit(any(name.partition('.')[0] in {'models', 'torch', 'vllm'} for name in sys.modules))"
    )

    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)  # noqa: S603 - our own program


def test_what_vllm_calls_in_each_process_exists() -> None:
    project = tomllib.loads((HANDOVER / "pyproject.toml").read_text())["project"]
    module, _, function = project["entry-points"]["vllm.general_plugins"]["smallfirst_handover"].partition(":")

    found = import_module(module.replace("smallfirst_handover", "models.handover"))

    assert callable(getattr(found, function))


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1", "0.32.0+cpu", "0.32.0rc2"])
def test_a_tried_version_starts(version: str) -> None:
    assert is_tried(version)
    require_tried(version, {})


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "0.320.0", "1.32.0", "dev"])
def test_an_untried_version_is_refused_unless_it_is_wanted_anyway(version: str) -> None:
    with pytest.raises(Unsupported, match=f"not with '{version}'; install one of these, or set {ANYWAY}=1"):
        require_tried(version, {ANYWAY: ""})

    require_tried(version, {ANYWAY: "1"})


def test_sampling_parameters_reach_every_token_of_their_request() -> None:
    temperatures, top_ks = torch.tensor([0.7, 0.0, 2.0]), torch.tensor([3, 0, 5], dtype=torch.int32)
    running_totals = torch.tensor([2, 2, 5], dtype=torch.int32)
    expanded, expanded_ks = torch.empty(5), torch.empty(5, dtype=torch.int32)

    expand(expanded, temperatures, running_totals, 0, 1)
    expand(expanded_ks, top_ks, running_totals, 0, 0)

    assert expanded.tolist() == pytest.approx([0.7, 0.7, 2.0, 2.0, 2.0])
    assert expanded_ks.tolist() == [3, 3, 5, 5, 5]


def test_a_temperature_of_zero_is_written_as_one() -> None:
    expanded = torch.empty(3)

    expand(expanded, torch.tensor([0.0, 0.5]), torch.tensor([2, 3]), 0, 1)

    assert expanded.tolist() == [1.0, 1.0, 0.5]
