"""What NVML's error codes mean to somebody who wants to run a model, and what to do.

Source: nvmlReturn_t in NVIDIA's NVML API reference.
Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Mapping

_REBOOT = "Reboot, so that the loaded kernel module and the installed library are of one version."
_LOOK = "Look at `dmesg | grep -i nvrm` and `nvidia-smi`."
_UPDATE = "Update the NVIDIA driver, or nvidia-ml-py."
_RESET = "Reset it with `nvidia-smi --gpu-reset`, or reboot."

# code: (what is wrong, what to do)
NVML_ERRORS: Mapping[int, tuple[str, str]] = {
    1: ("NVML was not initialised", _LOOK),
    2: ("NVML was asked in a way that it does not take", _UPDATE),
    3: ("the device does not say", "It may be too old for NVML, or share the system's memory."),
    4: (
        "no permission to ask the driver",
        "Join the group that owns /dev/nvidia*, or start the container with `--gpus all`.",
    ),
    5: ("NVML was initialised twice", _LOOK),
    6: ("the device was not found", _LOOK),
    7: ("NVML was given too little room for its answer", _UPDATE),
    8: ("the card's power cables are not connected properly", "Connect all of its power cables."),
    9: (
        "the NVIDIA driver is not loaded",
        "Load it with `modprobe nvidia`, or install the driver that fits this kernel.",
    ),
    10: ("the driver did not answer in time", _LOOK),
    11: ("the kernel found a problem with the card's interrupts", _LOOK),
    12: (
        "no NVIDIA driver is installed: its library libnvidia-ml is not there",
        "Install the NVIDIA driver; in a container, start it with `--gpus all`.",
    ),
    13: ("the driver's library is too old for this question", _UPDATE),
    14: ("the card's infoROM is corrupted", "Have the card checked; NVIDIA calls it a defect."),
    15: ("the GPU has fallen off the bus or is lost", _RESET),
    16: ("the GPU must be reset before it can be used", _RESET),
    17: ("the operating system or a cgroup blocks the driver", "Allow /dev/nvidia* here."),
    18: (
        "the driver's library and its kernel module are of different versions",
        _REBOOT,
    ),
    19: ("the GPU is in use in a way that forbids this", "End what uses it."),
    20: ("not enough memory for NVML", "Free some of the system's memory."),
    21: ("the driver has no data", _LOOK),
    22: ("ECC is not possible with a virtual GPU", "Turn ECC off for it."),
    23: ("the driver is out of resources", _LOOK),
    24: ("the clock is not supported", _UPDATE),
    25: ("the driver knows another version of this question", _UPDATE),
    26: ("the driver no longer answers this question", _UPDATE),
    27: ("the driver is not ready yet", "Try again in a moment."),
    28: ("the GPU was not found", _LOOK),
    29: ("the GPU is in a state that forbids this", _RESET),
    30: ("this kind of reset is not supported", "Reboot."),
    999: ("the driver failed inside", _LOOK),
}


def explain_nvml_error(code: int, said: str) -> tuple[str, str]:
    """Return what is wrong and what to do; a code that is new is told in NVML's own words."""
    return NVML_ERRORS.get(code, (f"NVML error {code} ({said})", _UPDATE))
