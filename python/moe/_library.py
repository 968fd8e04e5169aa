#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""libmoert through ctypes: the declarations of moert.h, and where it is."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
import pathlib
import shutil
from ctypes import (
    POINTER,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_void_p,
)

from .errors import LibraryNotFound, error_of

ABI_VERSION = 0

_PACKAGE = pathlib.Path(__file__).resolve().parent
#: The checkout that this package lies in, when it is not installed.
_CHECKOUT = _PACKAGE.parent.parent


class Dim(ctypes.Structure):
    _fields_ = [
        ("size", c_int64),
        ("symbol", c_char_p),
        ("min", c_int64),
        ("max", c_int64),
    ]


class TensorInfo(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("dtype", c_int32),
        ("rank", c_uint32),
        ("dims", POINTER(Dim)),
    ]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("dtype", c_int32),
        ("rank", c_uint32),
        ("shape", POINTER(c_int64)),
        ("data", c_void_p),
    ]


class SessionOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("weights", c_char_p),
        ("isa", c_char_p),
        ("threads", c_int32),
        ("verify_weights", c_int32),
        ("trace", c_int32),
        ("function_count", c_uint32),
        ("functions", POINTER(c_char_p)),
        ("parallel", c_void_p),
        ("parallel_user", c_void_p),
        ("dispatch_timeout", c_double),
        ("device", c_char_p),
        ("graphs", c_int32),
        ("reserved", c_int32),
        ("log", c_void_p),
        ("log_user", c_void_p),
        ("progress", c_void_p),
        ("progress_user", c_void_p),
    ]


# name: (result, arguments), as in moert.h. Handles are void pointers.
_FUNCTIONS = {
    "moert_abi_version": (c_uint32, []),
    "moert_version": (c_char_p, []),
    "moert_last_error": (c_char_p, []),
    "moert_exit_code": (c_int32, [c_int32]),
    "moert_module_open": (c_int32, [c_char_p, POINTER(c_void_p)]),
    "moert_module_close": (None, [c_void_p]),
    "moert_module_metadata": (c_char_p, [c_void_p]),
    "moert_module_function_count": (c_uint32, [c_void_p]),
    "moert_module_function_name": (c_char_p, [c_void_p, c_uint32]),
    "moert_function_input_count": (c_uint32, [c_void_p, c_uint32]),
    "moert_function_output_count": (c_uint32, [c_void_p, c_uint32]),
    "moert_function_input": (
        c_int32,
        [c_void_p, c_uint32, c_uint32, POINTER(TensorInfo)],
    ),
    "moert_function_output": (
        c_int32,
        [c_void_p, c_uint32, c_uint32, POINTER(TensorInfo)],
    ),
    "moert_session_create": (
        c_int32,
        [c_void_p, POINTER(SessionOptions), POINTER(c_void_p)],
    ),
    "moert_session_destroy": (None, [c_void_p]),
    "moert_session_output_shapes": (
        c_int32,
        [c_void_p, c_uint32, POINTER(Tensor), c_uint32]
        + [POINTER(c_int64), c_uint32],
    ),
    "moert_session_call": (
        c_int32,
        [c_void_p, c_uint32, POINTER(Tensor), c_uint32]
        + [POINTER(Tensor), c_uint32],
    ),
    "moert_session_isa": (c_char_p, [c_void_p]),
    "moert_session_device": (c_char_p, [c_void_p]),
    "moert_session_threads": (c_int32, [c_void_p]),
    "moert_session_expert_stats": (c_char_p, [c_void_p]),
    "moert_session_reset_expert_stats": (None, [c_void_p]),
    "moert_session_record_routes": (c_int32, [c_void_p, c_int32]),
    "moert_session_write_routes": (c_int32, [c_void_p, c_char_p]),
    "moert_session_replay_routes": (c_int32, [c_void_p, c_char_p]),
    "moert_session_trace": (c_char_p, [c_void_p]),
}


def library_places() -> list[str]:
    """Where libmoert is looked for, in this order."""
    given = os.environ.get("MOERT_LIBRARY")
    if given:
        return [given]
    places = [
        str(_PACKAGE / "libmoert.so.0"),
        str(_PACKAGE / "libmoert.so"),
        str(_CHECKOUT / "build" / "lib" / "libmoert.so.0"),
        str(_CHECKOUT / "build" / "lib" / "libmoert.so"),
    ]
    return places + ["libmoert.so.0"]


@functools.lru_cache(maxsize=None)
def library() -> ctypes.CDLL:
    """libmoert, loaded once. Raises LibraryNotFound."""
    found = None
    reasons = []
    for place in library_places():
        if os.sep in place and not os.path.exists(place):
            reasons.append(f"{place} does not exist")
            continue
        try:
            found = ctypes.CDLL(place)
            break
        except OSError as error:
            reasons.append(str(error))
    if found is None:
        raise LibraryNotFound.made_of(
            1,
            "libmoert was not found",
            because="; ".join(reasons),
            fix="build it (cmake --build build --target moert), or set "
            "MOERT_LIBRARY=/path/to/libmoert.so.0",
        )
    try:
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(found, name)
            function.restype = result
            function.argtypes = arguments
    except AttributeError as error:
        raise LibraryNotFound.made_of(
            1,
            "this is no libmoert",
            where=found._name,
            because=str(error),
            fix="set MOERT_LIBRARY=/path/to/libmoert.so.0",
        ) from None
    version = found.moert_abi_version()
    if version != ABI_VERSION:
        raise LibraryNotFound.made_of(
            1,
            f"libmoert has ABI version {version}; this package needs "
            f"{ABI_VERSION}",
            where=found._name,
            fix="use the package and the library of one release",
        )
    return found


def check(number: int) -> None:
    """Raises the exception for a result of libmoert; 0 is success."""
    if number:
        text = library().moert_last_error().decode(errors="replace")
        raise error_of(number, text)


def find_tool(name: str, variable: str) -> str:
    """A command line tool: $variable, the checkout's build, or the PATH."""
    given = os.environ.get(variable)
    if given:
        return given
    built = _CHECKOUT / "build" / "bin" / name
    if os.access(built, os.X_OK):
        return str(built)
    found = shutil.which(name)
    if found:
        return found
    raise LibraryNotFound.made_of(
        1,
        f"{name} was not found",
        because=f"it is neither in {built.parent} nor on the PATH",
        fix=f"build it (cmake --build build --target {name}), or set "
        f"{variable}=/path/to/{name}",
    )
