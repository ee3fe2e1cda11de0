"""Which device and number type to compute with, and what to say when it cannot be had."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from gar_video.errors import DeviceError

_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device to compute on.

    Args:
        device: ``"auto"`` (CUDA, then MPS, then CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or
            ``"mps"``.

    Raises:
        DeviceError: If the name is unknown or this machine has no such device.
    """
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError:
        raise DeviceError(
            f"unknown device {device!r}; expected auto, cpu, cuda, cuda:N or mps"
        ) from None
    if resolved.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count == 0:
            raise DeviceError(
                f"device {device!r} was asked for but this machine offers no CUDA; "
                "use --device cpu, or install a CUDA build of torch and its driver"
            )
        if resolved.index is not None and resolved.index >= count:
            raise DeviceError(
                f"device {device!r} was asked for but there are {count} CUDA devices, "
                f"cuda:0 to cuda:{count - 1}"
            )
    if resolved.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"device {device!r} was asked for but this machine offers no MPS")
    return resolved


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the floating-point type to compute in: bfloat16 on CUDA, float32 elsewhere.

    Args:
        dtype: ``"auto"``, ``"float32"``, ``"bfloat16"``, ``"float16"`` or a torch dtype.
        device: The device that ``"auto"`` chooses for.

    Raises:
        DeviceError: If the name is unknown.
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float32
    if dtype not in _DTYPES:
        raise DeviceError(f"unknown dtype {dtype!r}; expected auto, {', '.join(_DTYPES)}")
    return _DTYPES[dtype]


@contextmanager
def memory_guard(doing: str) -> Iterator[None]:
    """Turn running out of memory into a DeviceError that says which lever to pull.

    Args:
        doing: What was being done, for the message: "encoding 16 frames".
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(doing) from error
    except RuntimeError as error:
        # The CPU allocator has no exception class of its own.
        if "can't allocate memory" in str(error) or "not enough memory" in str(error):
            raise _out_of_memory(doing) from error
        raise


def _out_of_memory(doing: str) -> DeviceError:
    return DeviceError(
        f"out of memory while {doing}; use fewer frames (--num-frames), a smaller dtype "
        "(--dtype bfloat16), fewer questions at once, or another device (--device)"
    )
