import pytest

from virc.backends import devices


@pytest.mark.gpu
def test_a_gpu_that_works_is_taken() -> None:
    device, warning = devices.choose()
    assert (device.type, warning) == ("cuda", None)
    assert (devices.free_memory(device) or 0) > 2**28
