#===----------------------------------------------------------------------===#
#
# Part of the MoE compiler, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
#===----------------------------------------------------------------------===#
"""The further families, beside the five of families.py.

A family says what its config.json is, which blocks it has, which tensors its
checkpoint has, and what a block computes (catalog_reference.Block).
"""

import catalog_capacity
import catalog_hybrid
import catalog_logits
import catalog_softmax

FAMILIES = (
    catalog_softmax.FAMILIES
    + catalog_logits.FAMILIES
    + catalog_hybrid.FAMILIES
    + catalog_capacity.FAMILIES
)


def find(directory):
    """The family and dtype ("F32", "BF16") of a directory's name, or None."""
    for family in FAMILIES:
        for dtype in family.dtypes:
            if family.directory(dtype) == directory:
                return family, dtype.upper()
    return None
