"""Sixteen-entry look-ups in registers, for kernels that decode 4-bit codes on the way into a product.

A table in memory or in shared memory would bound such a kernel by its look-ups. Instead a level is cut into its low
and its high byte, sixteen bytes fill four registers, and the byte-permute instruction picks four of eight bytes at a
time by the codes themselves:

    low three bits of four codes  -> four bytes of levels 0…7, and four bytes of levels 8…15
    highest bit of the four codes -> which of the two, by a third permute

so four codes cost three instructions for each byte of the level.
"""

from collections.abc import Sequence

# A permute takes its selectors from the low half of a register: eight codes need two rounds. `z` is always zero, but
# the assembler does not know it: the tables would otherwise sit in uniform registers and be copied before each use.
_PROLOGUE = """
.reg .b32 index<2>, half<2>, below, above, z, low_table<4>, high_table<4>;
mov.u32 z, %lanemask_gt;
and.b32 z, z, 1;
"""
_SELECTORS = """
and.b32 index0, {codes}, 0x77777777;
shr.u32 half0, {codes}, 1;
lop3.b32 half0, half0, 0x44444444, 0x32103210, 0xea;
shr.u32 index1, index0, 16;
shr.u32 half1, half0, 16;
"""


def look_up(codes: str, low_bytes: Sequence[int], high_bytes: Sequence[int]) -> str:
    """PTX that decodes the eight codes of one 32-bit register.

    Args:
        codes: the operand that holds them; within a byte the first code is the high nibble, as they are stored.
        low_bytes, high_bytes: sixteen bytes each, of the levels' low and high halves.

    Returns:
        Declarations and instructions that leave ``low0``, ``high0`` (codes 1, 0, 3, 2, one a byte) and ``low1``,
        ``high1`` (codes 5, 4, 7, 6). The caller puts it between braces and declares ``low<2>`` and ``high<2>``.
    """
    lines = [_PROLOGUE]
    for table, entries in (("low_table", low_bytes), ("high_table", high_bytes)):
        for k in range(4):
            word = int.from_bytes(bytes(b & 255 for b in entries[4 * k : 4 * k + 4]), "little")
            lines.append(f"xor.b32 {table}{k}, z, {word:#010x};")
    lines.append(_SELECTORS.format(codes=codes))
    for part in range(2):
        for table, result in (("low_table", f"low{part}"), ("high_table", f"high{part}")):
            lines.append(f"prmt.b32 below, {table}0, {table}1, index{part};")
            lines.append(f"prmt.b32 above, {table}2, {table}3, index{part};")
            lines.append(f"prmt.b32 {result}, below, above, half{part};")
    return "\n".join(lines)
