"""Which ports there are, and what is wrong with one."""

import errno
import fcntl
import os
import termios

import pytest
import serial
import trio

from appliance.console import port
from appliance.console.port import explain, find


def test_a_device_with_two_names_is_one_port(tmp_path):
    (tmp_path / "ttyUSB0").write_text("")
    (tmp_path / "ttyUSB1").write_text("")
    (tmp_path / "serial0").symlink_to(tmp_path / "ttyUSB0")
    found = find([str(tmp_path / "serial0"), str(tmp_path / "ttyUSB*"), str(tmp_path / "none*")])
    assert found == [str(tmp_path / "serial0"), str(tmp_path / "ttyUSB1")]


def test_what_is_wrong_is_told_with_what_to_do():
    def told(number):
        return str(explain("/dev/ttyS0", serial.SerialException(number, "x")))

    assert "dialout" in told(errno.EACCES)
    assert "another program has it" in told(errno.EAGAIN)
    assert "cannot be opened" in told(errno.EMFILE)
    assert explain("/dev/ttyS0", OSError(errno.ENOENT, "x")).absent
    assert not explain("/dev/ttyS0", OSError(errno.EACCES, "x")).absent


def test_a_port_is_set_to_115200_8n1_and_is_ours_alone(tmp_path):
    async def main():
        master, slave = os.openpty()
        async with port.open_port(os.ttyname(slave)):
            _, _, control, local, speed_in, speed_out, _ = termios.tcgetattr(slave)
            assert speed_in == speed_out == termios.B115200
            assert control & termios.CSIZE == termios.CS8
            assert not control & (termios.PARENB | termios.CSTOPB | termios.CRTSCTS)
            assert not local & (termios.ECHO | termios.ICANON | termios.ISIG)
            other = os.open(os.ttyname(slave), os.O_RDWR | os.O_NOCTTY)
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(other)
        os.close(slave)
        os.close(master)

    trio.run(main)
