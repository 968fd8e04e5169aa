# The lit suite of the compiler: lit <build>/test, or ctest -R check-moe-lit.
#
# MOE_VERIFY_ROUNDTRIP=1 in the environment makes every moe-opt also print and
# parse its input again and compare the two.

import os
import platform
import re

import lit.formats

config.name = "moe"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.moe_binary_dir, "test")
config.excludes = ["golden", "Unit", "StandIn", "Inputs", "CMakeLists.txt"]

config.environment["PATH"] = os.pathsep.join(
    [config.moe_tools_dir, config.llvm_tools_dir, os.environ["PATH"]]
)
# Diagnostics and numbers must not depend on the user's language.
config.environment["LC_ALL"] = "C"
for name in os.environ:
    if name.startswith(("ASAN_", "UBSAN_", "LSAN_")):
        config.environment[name] = os.environ[name]

config.substitutions += [
    ("%moe_src_root", config.moe_source_dir),
    ("%moe_obj_root", config.moe_binary_dir),
    ("%llvm_tools", config.llvm_tools_dir),
    ("%mlir_tblgen", config.mlir_tblgen),
    ("%mlir_include", config.mlir_include_dir),
    ("%python", config.python),
]


def command(name):
    """Matches a tool's name where it stands as a command."""
    return r"(?<![\w/.%-])" + re.escape(name) + r"(?![\w/.-])"


if os.environ.get("MOE_VERIFY_ROUNDTRIP") == "1":
    config.substitutions.append(
        (command("moe-opt"), "moe-opt --verify-roundtrip")
    )

# What a test may ask for with REQUIRES or UNSUPPORTED.
if config.moe_asan:
    config.available_features.add("asan")
config.available_features.add(platform.machine())
try:
    with open("/proc/cpuinfo") as cpuinfo:
        flags = re.search(r"flags\s*: (.*)", cpuinfo.read()).group(1)
        flags = set(flags.split())
except (OSError, AttributeError):
    flags = set()
for feature, needed in {
    "avx2": {"avx2", "fma", "f16c", "bmi2"},
    "avx512": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
    "avx512bf16": {"avx512_bf16"},
    "amx": {"amx_tile", "amx_bf16"},
}.items():
    if needed <= flags:
        config.available_features.add(feature)
