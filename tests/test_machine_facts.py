"""What `gelora.doctor` says of the machine without loading PyTorch."""

import stat

import pytest

from gelora.doctor import gpu_of_driver, package_versions


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Puts a tool of the driver's name on the path that answers with a given text."""

    def put(answer: str, status: int = 0) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\nexit {status}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IEXEC)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return put


def test_the_first_gpu_is_named_with_its_memory(driver):
    driver("NVIDIA H100 80GB HBM3, 80000, 81559\nNVIDIA H100 80GB HBM3, 1, 81559")
    gpu = gpu_of_driver()
    assert (gpu.name, gpu.free_bytes, gpu.total_bytes) == ("NVIDIA H100 80GB HBM3", 80000 * 2**20, 81559 * 2**20)


@pytest.mark.parametrize(("answer", "status"), [("", 0), ("No devices were found", 6), ("a, b, c", 0)])
def test_a_driver_without_an_answer_is_no_gpu(driver, answer, status):
    driver(answer, status)
    assert gpu_of_driver() is None


def test_without_the_tool_there_is_no_gpu(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_of_driver() is None


def test_versions_are_those_installed():
    import numpy

    assert package_versions()["numpy"] == numpy.__version__
