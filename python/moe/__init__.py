#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""Compile, load and call Mixture-of-Experts models.

  import moe, numpy
  moe.compile("OLMoE-1B-7B", "olmoe.moe")
  with moe.load("olmoe.moe") as session:
      x = moe.to_bf16(numpy.random.randn(16, 2048))
      y = session["layers.0.mlp"](x)
      moe.plot.heatmap(session.expert_stats(), "experts.png")

Needs numpy and libmoert; moe.compile needs the tool moe-compile and moe.plot
needs matplotlib. Where they are looked for: the library in $MOERT_LIBRARY,
beside this package, in build/lib of the checkout, then where the system's
loader looks; the tool in $MOE_COMPILE, in build/bin of the checkout, then on
the PATH.
"""

from . import plot
from .compiler import compile
from .dtypes import from_bf16, to_bf16
from .errors import (
    CallError,
    ClosedError,
    CompileError,
    Diagnostic,
    FileError,
    IncompatibleArtifact,
    InputError,
    LibraryNotFound,
    MoeError,
    OutOfMemory,
    UsageError,
    WeightsError,
)
from .session import Function, FunctionInfo, Module, Session, TensorInfo, load
from .stats import ExpertStats

__version__ = "0.1.0"

__all__ = [
    "CallError",
    "ClosedError",
    "CompileError",
    "Diagnostic",
    "ExpertStats",
    "FileError",
    "Function",
    "FunctionInfo",
    "IncompatibleArtifact",
    "InputError",
    "LibraryNotFound",
    "MoeError",
    "Module",
    "OutOfMemory",
    "Session",
    "TensorInfo",
    "UsageError",
    "WeightsError",
    "compile",
    "from_bf16",
    "load",
    "plot",
    "to_bf16",
]
