import pytest
import torch

from archsearch.errors import OptionError
from archsearch.nn.device import device_name, environment, git_commit, identity, pick_device

CPU = torch.device("cpu")


def test_devices():
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(OptionError, match="no device 'cuda:99' here"):
        pick_device("cuda:99")
    with pytest.raises(OptionError, match=r"available: auto, cpu"):
        pick_device("gpu")


def test_the_environment_names_what_a_figure_depends_on():
    facts = environment(CPU)
    assert facts["torch"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()
    assert facts["device_name"] == device_name(CPU) != ""
    assert facts["commit"] == git_commit()
    assert facts["proxy_autocast"] in ("bfloat16", "off")


def test_a_device_has_an_identity():
    assert identity(CPU) == "cpu"


@pytest.mark.gpu
def test_a_gpu_is_known_by_its_uuid():
    assert len(identity(torch.device("cuda:0"))) == 36
