//===- CompileOptions.td - Options of moe-compile -------------------------===//
//
// Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
// See LICENSE for license information.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

include "llvm/Option/OptParser.td"

def grp_input : OptionGroup<"<input>">, HelpText<"INPUT">;
def grp_target : OptionGroup<"<target>">, HelpText<"TARGET">;
def grp_output : OptionGroup<"<output>">, HelpText<"OUTPUT">;
def grp_diag : OptionGroup<"<diagnostics>">, HelpText<"DIAGNOSTICS">;

class F<string name, string help> : Flag<["--"], name>, HelpText<help>;
multiclass Eq<string name, string help, OptionGroup group, string meta> {
  def NAME : Separate<["--"], name>, Group<group>, MetaVarName<meta>;
  def NAME #_EQ : Joined<["--"], name # "=">, Alias<!cast<Option>(NAME)>,
                  Group<group>, HelpText<help>, MetaVarName<meta>;
}

defm checkpoint : Eq<"checkpoint",
    "Weights of an .mlir input: a directory or a safetensors file",
    grp_input, "<path>">;
defm layers : Eq<"layers",
    "Compile these MoE layers only, e.g. 0,3", grp_input, "<n>[,<n>...]">;
defm max_num_tokens : Eq<"max-num-tokens",
    "Most tokens of one call (default 1048576)", grp_input, "<n>">;
defm router_dtype : Eq<"router-dtype",
    "f32: keep logits and routing weights in f32 where the model rounds them",
    grp_input, "<f32|model>">;

defm target : Eq<"target",
    "x86-64 (all levels, default), x86-64-v3 (AVX2), x86-64-v4 (AVX-512), "
    "x86-64-amx; NVIDIA GPUs: sm_80, sm_86, sm_89, sm_90a, sm_100a, sm_120a",
    grp_target, "<t>[,<t>...]">;
defm ptxas : Eq<"ptxas",
    "NVIDIA's assembler (default: in $CUDA_HOME/bin, the search path or "
    "/usr/local/cuda/bin); none: PTX only", grp_target, "<path|none>">;
defm numerics : Eq<"numerics",
    "strict: a token's bits do not depend on the batch either", grp_target,
    "<default|strict>">;
def emulate_amx : Flag<["--"], "emulate-amx">, Group<grp_target>,
    Flags<[HelpHidden]>,
    HelpText<"Generate level AMX without AMX instructions, for tests">;

def o : JoinedOrSeparate<["-"], "o">, Group<grp_output>, MetaVarName<"<file>">,
    HelpText<"Output (default <model>.moe; - for standard output)">;
defm weights : Eq<"weights",
    "external (the checkpoint's files, default), packed (a file beside the "
    "artifact), embedded (at most 1 GiB)", grp_output,
    "<external|packed|embedded>">;
def hash_weights : Flag<["--"], "hash-weights">, Group<grp_output>,
    HelpText<"Record content hashes for moe-run --verify-weights">;
defm compile_to : Eq<"compile-to", "Stop after a phase and write its IR",
    grp_output, "<phase>">;
defm compile_from : Eq<"compile-from",
    "The input is the IR written after this phase", grp_output, "<phase>">;
defm dump_phases : Eq<"dump-phases", "Write the IR after each phase",
    grp_output, "<dir>">;

def save_temps : Flag<["--"], "save-temps">, Group<grp_output>,
    HelpText<"Keep GPU code in every form, beside the output">;
def save_temps_EQ : Joined<["--"], "save-temps=">, Group<grp_output>,
    MetaVarName<"<dir>">, HelpText<"The same, in another folder">;

def Rpass_EQ : Joined<["-"], "Rpass=">, Group<grp_diag>, MetaVarName<"<regex>">,
    HelpText<"Report optimisations of matching passes">;
def Rpass_missed_EQ : Joined<["-"], "Rpass-missed=">, Group<grp_diag>,
    MetaVarName<"<regex>">, HelpText<"Report what they could not optimise">;
def Rpass_analysis_EQ : Joined<["-"], "Rpass-analysis=">, Group<grp_diag>,
    MetaVarName<"<regex>">, HelpText<"Report what they found">;
def print_pipeline : Flag<["--"], "print-pipeline">, Group<grp_diag>,
    HelpText<"Print the moe-opt command of each phase and stop">;
def list_phases : Flag<["--"], "list-phases">, Group<grp_diag>,
    HelpText<"Print the phases and stop">;
def q : Flag<["-"], "q">, Group<grp_diag>, HelpText<"Print errors only">;
def version : Flag<["--"], "version">, Group<grp_diag>,
    HelpText<"Print versions and stop">;
def help : Flag<["--"], "help">, Group<grp_diag>, HelpText<"Print this help">;
def h : Flag<["-"], "h">, Alias<help>, Group<grp_diag>;

def in_process : Joined<["--"], "in-process=">, Flags<[HelpHidden]>,
    HelpText<"Compile in this process, results into this folder">;
