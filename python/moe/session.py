#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Artifacts and sessions: moert.h in Python."""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import pathlib
import threading
import weakref
from collections.abc import Iterable, Sequence
from ctypes import byref, c_char_p, c_int64, c_uint32, c_void_p, sizeof
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _library
from .dtypes import BF16, NAMES, NUMPY_TYPES, is_ml_bfloat16, number_of
from .errors import ClosedError, FileError, InputError, UsageError
from .stats import ExpertStats


@ctypes.CFUNCTYPE(None, c_void_p, c_char_p)
def _log_line(_user, line):
    """What the runtime has to say, such as why a GPU is not used."""
    logging.getLogger("moe").warning("%s", line.decode(errors="replace"))


@dataclass(frozen=True)
class TensorInfo:
    """An input or output of a function."""

    name: str
    #: "f32", "bf16", "f16", "i32", "i64" or "u8".
    dtype: str
    #: Sizes; a name where the size depends on the call.
    shape: tuple[int | str, ...]
    #: Smallest and largest value of each name in `shape`.
    bounds: dict[str, tuple[int, int]]

    def __str__(self) -> str:
        sizes = ", ".join(map(str, self.shape))
        return f"{self.name}: {self.dtype} [{sizes}]"


@dataclass(frozen=True)
class FunctionInfo:
    """A function of an artifact."""

    name: str
    index: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


class Module:
    """An opened artifact: verified, nothing of it run.

    Raises FileError when the file cannot be read and IncompatibleArtifact
    when it is damaged or of another version. Usable by several threads.
    """

    def __init__(self, path: str | os.PathLike[str]):
        lib = _library.library()
        self._handle = c_void_p()
        self.path = pathlib.Path(path)
        _library.check(
            lib.moert_module_open(os.fsencode(path), byref(self._handle))
        )
        self._finalizer = weakref.finalize(
            self, lib.moert_module_close, self._handle
        )
        #: The artifact's metadata, schema moe.meta/1.
        self.metadata: dict[str, Any] = json.loads(
            lib.moert_module_metadata(self._handle)
        )
        #: The functions by name, in the artifact's order.
        self.functions: dict[str, FunctionInfo] = {}
        for index in range(lib.moert_module_function_count(self._handle)):
            name = lib.moert_module_function_name(self._handle, index).decode()
            self.functions[name] = FunctionInfo(
                name,
                index,
                self._tensors(index, "input"),
                self._tensors(index, "output"),
            )

    def _tensors(self, function: int, kind: str) -> tuple[TensorInfo, ...]:
        lib = _library.library()
        count = getattr(lib, f"moert_function_{kind}_count")
        get = getattr(lib, f"moert_function_{kind}")
        found = []
        for index in range(count(self._handle, function)):
            info = _library.TensorInfo(struct_size=sizeof(_library.TensorInfo))
            _library.check(get(self._handle, function, index, byref(info)))
            shape: list[int | str] = []
            bounds = {}
            for dim in info.dims[: info.rank]:
                if dim.symbol is None:
                    shape.append(dim.size)
                    continue
                shape.append(dim.symbol.decode())
                bounds[shape[-1]] = (dim.min, dim.max)
            found.append(
                TensorInfo(
                    info.name.decode(), NAMES[info.dtype], tuple(shape), bounds
                )
            )
        return tuple(found)

    def find(self, name: str) -> FunctionInfo:
        """The function of this name. Raises UsageError."""
        if name not in self.functions:
            raise UsageError.made_of(
                2,
                f"there is no function '{name}'",
                where=str(self.path),
                because=f"the artifact has: {', '.join(self.functions)}",
                fix="name one of these",
            )
        return self.functions[name]


class Function:
    """A function of a session; call it with arrays. See Session.call."""

    def __init__(self, session: Session, info: FunctionInfo):
        self._session = session
        self.info = info

    def __call__(
        self,
        *inputs: np.ndarray,
        out: np.ndarray | Sequence[np.ndarray] | None = None,
    ):
        return self._session.call(self.info.name, *inputs, out=out)

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self.info.inputs))
        outputs = ", ".join(map(str, self.info.outputs))
        return f"<moe function {self.info.name}({inputs}) -> ({outputs})>"


class Session:
    """An artifact with its code, weights and threads. Made by moe.load.

    A context manager; ``close`` frees the memory. Several threads may use a
    session: calls, statistics and ``close`` run one after the other.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        weights: str | os.PathLike[str] | None = None,
        threads: int = 0,
        isa: str | None = None,
        functions: Iterable[str] = (),
        verify_weights: bool = False,
        trace: bool = False,
        dispatch_timeout: float = 0.0,
        device: str | None = None,
        graphs: bool = False,
    ):
        lib = _library.library()
        self.module = Module(path)
        names = [self.module.find(name).name.encode() for name in functions]
        options = _library.SessionOptions(
            struct_size=sizeof(_library.SessionOptions),
            weights=None if weights is None else os.fsencode(weights),
            isa=None if isa is None else isa.encode(),
            threads=threads,
            verify_weights=bool(verify_weights),
            trace=bool(trace),
            function_count=len(names),
            functions=(c_char_p * len(names))(*names) if names else None,
            dispatch_timeout=dispatch_timeout,
            device=None if device is None else device.encode(),
            graphs=bool(graphs),
            log=ctypes.cast(_log_line, c_void_p),
        )
        self._lock = threading.Lock()
        self._handle = c_void_p()
        _library.check(
            lib.moert_session_create(
                self.module._handle, byref(options), byref(self._handle)
            )
        )
        self._finalizer = weakref.finalize(
            self, lib.moert_session_destroy, self._handle
        )
        #: Device in use: "cpu", "cuda:0", ...
        self.device: str = lib.moert_session_device(self._handle).decode()
        #: Instruction set level in use ("avx2", "avx512" or "amx"), or the
        #: architecture of the GPU ("sm_90").
        self.isa: str = lib.moert_session_isa(self._handle).decode()
        #: Number of threads of a call, of multiprocessors of a GPU.
        self.threads: int = lib.moert_session_threads(self._handle)

    # -- Lifetime ----------------------------------------------------------

    def close(self) -> None:
        """Frees code, weights and workspace. May be called again."""
        with self._lock:
            self._finalizer()

    @property
    def closed(self) -> bool:
        return not self._finalizer.alive

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self.closed:
            raise ClosedError.made_of(
                2,
                "the session is closed",
                where=str(self.module.path),
                fix="load the artifact again: moe.load(path)",
            )

    # -- Calls -------------------------------------------------------------

    @property
    def metadata(self) -> dict[str, Any]:
        """The artifact's metadata, schema moe.meta/1."""
        return self.module.metadata

    @property
    def functions(self) -> list[str]:
        """Names of the functions."""
        return list(self.module.functions)

    def __getitem__(self, name: str) -> Function:
        """The function of this name, to be called. Raises UsageError."""
        return Function(self, self.module.find(name))

    def call(
        self,
        name: str,
        *inputs: np.ndarray,
        out: np.ndarray | Sequence[np.ndarray] | None = None,
    ) -> np.ndarray | tuple[np.ndarray, ...]:
        """Calls a function.

        Inputs are read in place, never copied or converted: C-contiguous
        arrays of the declared element type. bfloat16 is either a uint16 array
        of its bits (moe.to_bf16 makes one) or an ``ml_dtypes.bfloat16``
        array; bfloat16 outputs have the same type as the first such input,
        uint16 when there is none.

        Args:
          name: the function, e.g. "layers.0.mlp".
          inputs: one array per declared input, in order.
          out: arrays to write the outputs to; new ones when None.

        Returns the output, or a tuple when the function has several.

        Raises InputError for an array that does not fit, UsageError for an
        unknown function, OutOfMemory, CallError, ClosedError.
        """
        info = self.module.find(name)
        if len(inputs) != len(info.inputs):
            needed = ", ".join(map(str, info.inputs))
            raise UsageError.made_of(
                2,
                f"'{name}' takes {len(info.inputs)} inputs, {len(inputs)} "
                "given",
                fix=f"call it with {needed}",
            )
        tensors = _tensors(info.inputs, inputs, "input")
        bf16 = NUMPY_TYPES[BF16]
        for array in inputs:
            if is_ml_bfloat16(array.dtype):
                bf16 = array.dtype
                break
        lib = _library.library()
        with self._lock:
            self._check_open()
            shapes = self._output_shapes(info, tensors)
            if out is None:
                outputs = tuple(
                    _allocate(shape, bf16 if o.dtype == "bf16" else None, o)
                    for shape, o in zip(shapes, info.outputs)
                )
            else:
                outputs = _given_outputs(info, inputs, out, shapes)
            results = _tensors(info.outputs, outputs, "output")
            _library.check(
                lib.moert_session_call(
                    self._handle,
                    info.index,
                    tensors,
                    len(tensors),
                    results,
                    len(results),
                )
            )
        return outputs[0] if len(outputs) == 1 else outputs

    def _output_shapes(self, info: FunctionInfo, tensors) -> list[tuple]:
        ranks = [len(o.shape) for o in info.outputs]
        flat = (c_int64 * max(sum(ranks), 1))()
        _library.check(
            _library.library().moert_session_output_shapes(
                self._handle,
                info.index,
                tensors,
                len(tensors),
                flat,
                c_uint32(sum(ranks)),
            )
        )
        shapes = []
        position = 0
        for rank in ranks:
            shapes.append(tuple(flat[position : position + rank]))
            position += rank
        return shapes

    # -- Records -----------------------------------------------------------

    def expert_stats(self) -> ExpertStats:
        """How often each expert was chosen since load or the last reset."""
        with self._lock:
            self._check_open()
            text = _library.library().moert_session_expert_stats(self._handle)
        return ExpertStats.from_json(text.decode())

    def reset_expert_stats(self) -> None:
        """Starts counting at zero."""
        with self._lock:
            self._check_open()
            _library.library().moert_session_reset_expert_stats(self._handle)

    @contextlib.contextmanager
    def record_routes(self, path: str | os.PathLike[str]):
        """Writes what the routers chose in the last call of a with block.

          with session.record_routes("routes.safetensors"):
              session["layers.0.mlp"](x)

        The file has for each layer "<layer>.ids", int32 [tokens, experts per
        token] (-1 for none), and "<layer>.weights", float32. Results are the
        same bits as without. Nothing is written when the block raises.

        Raises UsageError when nothing was called, InputError when the function
        has no routers, FileError.
        """
        lib = _library.library()
        with self._lock:
            self._check_open()
            _library.check(lib.moert_session_record_routes(self._handle, 1))
        try:
            yield
            with self._lock:
                self._check_open()
                _library.check(
                    lib.moert_session_write_routes(
                        self._handle, os.fsencode(path)
                    )
                )
        finally:
            with self._lock:
                if not self.closed:
                    lib.moert_session_record_routes(self._handle, 0)

    @contextlib.contextmanager
    def replay_routes(self, path: str | os.PathLike[str]):
        """Lets calls in a with block take recorded routes.

        Instead of choosing experts, routers give what record_routes wrote, of
        the same function and number of tokens.

        Raises InputError for routes of another model or call, or what is no
        file of routes, CallError for invalid experts in it, FileError.
        """
        lib = _library.library()
        with self._lock:
            self._check_open()
            _library.check(
                lib.moert_session_replay_routes(
                    self._handle, os.fsencode(path)
                )
            )
        try:
            yield
        finally:
            with self._lock:
                if not self.closed:
                    lib.moert_session_replay_routes(self._handle, None)

    def trace(self) -> dict[str, Any]:
        """The time line as a Chrome trace; spans need ``load(trace=True)``.

        Times are microseconds.
        """
        with self._lock:
            self._check_open()
            text = _library.library().moert_session_trace(self._handle)
        return json.loads(text)

    def write_trace(self, path: str | os.PathLike[str]) -> pathlib.Path:
        """Writes the time line as JSON. Raises FileError."""
        root = self.trace()
        try:
            with open(path, "w") as file:
                json.dump(root, file)
        except OSError as error:
            raise FileError.made_of(
                11, "cannot write the trace", os.fspath(path), str(error)
            ) from None
        return pathlib.Path(path)

    def __repr__(self) -> str:
        state = f"{self.isa}, {self.threads} threads"
        if self.device != "cpu":
            state = f"{self.device}, {self.isa}"
        if self.closed:
            state = "closed"
        return f"<moe session {self.module.path} ({state})>"


def _allocate(shape, bf16, info: TensorInfo) -> np.ndarray:
    number = next(n for n, name in NAMES.items() if name == info.dtype)
    return np.empty(shape, bf16 or NUMPY_TYPES[number])


def _given_outputs(
    info: FunctionInfo, inputs, out, shapes
) -> tuple[np.ndarray, ...]:
    outputs = (out,) if isinstance(out, np.ndarray) else tuple(out)
    if len(outputs) != len(info.outputs):
        raise UsageError.made_of(
            2,
            f"'{info.name}' gives {len(info.outputs)} outputs, out= has "
            f"{len(outputs)}",
        )
    # The runtime reads inputs while it writes outputs.
    for index, array in enumerate(outputs):
        for other in (*inputs, *outputs[:index]):
            if np.may_share_memory(array, other):
                raise InputError.made_of(
                    13,
                    f"output '{info.outputs[index].name}' overlaps an input "
                    "or another output",
                    fix="pass arrays of their own",
                )
    for array, shape, declared in zip(outputs, shapes, info.outputs):
        if not isinstance(array, np.ndarray) or array.shape != shape:
            found = getattr(array, "shape", type(array).__name__)
            raise InputError.made_of(
                13,
                f"output '{declared.name}' has shape {found}, the call gives "
                f"{shape}",
                fix=f"out=numpy.empty({shape}, dtype)",
            )
        if not array.flags.writeable:
            raise InputError.made_of(
                13, f"output '{declared.name}' is a read-only array"
            )
    return outputs


def _tensors(
    infos: Sequence[TensorInfo], arrays: Sequence[np.ndarray], kind: str
):
    """moert_tensor for each array, pointing into it."""
    tensors = (_library.Tensor * len(arrays))()
    for tensor, info, array in zip(tensors, infos, arrays):
        what = f"{kind} '{info.name}'"
        number = _checked_type(array, info, what)
        if not array.flags.c_contiguous or not array.flags.aligned:
            raise InputError.made_of(
                13,
                f"{what} is not C-contiguous",
                because=f"its strides are {array.strides}, and arrays are "
                "never copied",
                fix="pass numpy.ascontiguousarray(array)",
            )
        tensor.struct_size = sizeof(_library.Tensor)
        tensor.dtype = number
        tensor.rank = array.ndim
        tensor.shape = (c_int64 * max(array.ndim, 1))(*array.shape)
        tensor.data = array.ctypes.data
    return tensors


def _checked_type(array: np.ndarray, info: TensorInfo, what: str) -> int:
    if not isinstance(array, np.ndarray):
        raise InputError.made_of(
            13,
            f"{what} is a {type(array).__name__}, not a numpy array",
            because=f"the function declares {info}",
            fix="pass numpy.asarray(value, dtype)",
        )
    number = number_of(array.dtype)
    if number is None or NAMES[number] != info.dtype:
        fix = "pass moe.to_bf16(array)"
        if info.dtype != "bf16":
            wanted = next(n for n, name in NAMES.items() if name == info.dtype)
            fix = f"pass array.astype(numpy.{NUMPY_TYPES[wanted].name})"
        raise InputError.made_of(
            13,
            f"{what} has element type {array.dtype}",
            because=f"the function declares {info}",
            fix=fix,
        )
    return number


def load(
    path: str | os.PathLike[str],
    *,
    weights: str | os.PathLike[str] | None = None,
    threads: int = 0,
    isa: str | None = None,
    functions: Iterable[str] = (),
    verify_weights: bool = False,
    trace: bool = False,
    dispatch_timeout: float = 0.0,
    device: str | None = None,
    graphs: bool = False,
) -> Session:
    """Loads an artifact with its weights.

    Args:
      path: the artifact, model.moe.
      weights: folder or file of the weights; None searches beside the
        artifact and in the places recorded in it.
      threads: workers; 0 means one per CPU that this process may use.
      isa: "avx2", "avx512" or "amx"; None takes $MOE_ISA, or the best of this
        machine.
      functions: only these can be called, and only their weights are loaded;
        empty means all.
      verify_weights: compare the contents of the weights with the recorded
        hashes.
      trace: record a time line for Session.trace.
      dispatch_timeout: seconds that one dispatch may take; 0 means an hour.
      device: "cpu", "cuda", "cuda:N", or "auto" (the default): a GPU when
        there is one and the artifact has code for it, else the CPU. Why a GPU
        is not used goes to the logger "moe".
      graphs: record each function as a CUDA graph once for given sizes and
        run that.

    Raises FileError, IncompatibleArtifact, WeightsError, UsageError,
    OutOfMemory, LibraryNotFound.
    """
    return Session(
        path,
        weights=weights,
        threads=threads,
        isa=isa,
        functions=functions,
        verify_weights=verify_weights,
        trace=trace,
        dispatch_timeout=dispatch_timeout,
        device=device,
        graphs=graphs,
    )
