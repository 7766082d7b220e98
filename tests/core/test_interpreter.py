"""What this package does to its interpreter and its process: signals put off, no collection, ends with the parent."""

import signal

from virc.core.interpreter import interrupts_deferred


def test_a_signal_comes_behind_the_block_that_defers_it_and_to_the_handler_of_before() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        with interrupts_deferred():
            signal.raise_signal(signal.SIGTERM)
            assert came == []
        assert came == [signal.SIGTERM]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with interrupts_deferred():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
