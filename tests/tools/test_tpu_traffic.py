"""tools/tpu_compiler/traffic.py: the bytes that a compiled program moves, from its text."""

import pytest
from tpu_compiler.traffic import ARRAY, array_bytes, memory_traffic

PROGRAM = """HloModule jit_call, is_scheduled=true

%fused_whole (param_0.1: f32[64,128], param_1.1: f32[64,128]) -> f32[64,128] {
  %param_0.1 = f32[64,128]{1,0:T(8,128)} parameter(0)
  %param_1.1 = f32[64,128]{1,0:T(8,128)S(1)} parameter(1)
  ROOT %add.1 = f32[64,128]{1,0:T(8,128)} add(%param_0.1, %param_1.1)
}

%fused_slices (param_0.2: f32[64,128]) -> f32[8,128] {
  %param_0.2 = f32[64,128]{1,0:T(8,128)} parameter(0)
  %slice.1 = f32[8,128]{1,0:T(8,128)} slice(%param_0.2), slice={[0:8], [0:128]}
  %slice.2 = f32[8,128]{1,0:T(8,128)} slice(%param_0.2), slice={[56:64], [0:128]}
  ROOT %add.2 = f32[8,128]{1,0:T(8,128)} add(%slice.1, %slice.2)
}

ENTRY %main.1 (Arg_0.1: f32[64,128]) -> f32[8,128] {
  %Arg_0.1 = f32[64,128]{1,0:T(8,128)} parameter(0), metadata={op_name="x"}
%LINES%
}
"""
WHOLE, SLICE = 64 * 128 * 4, 8 * 128 * 4


def traffic_of(*lines):
    return memory_traffic(PROGRAM.replace("%LINES%", "\n".join(f"  {line}" for line in lines)))


@pytest.mark.parametrize(("array", "size"), [
    ("f32[8,3]{1,0:T(8,128)}", 8 * 128 * 4),
    ("bf16[16,64,64,48]{3,0,2,1:T(8,128)(2,1)S(1)}", 64 * 64 * 16 * 128 * 2),  # the batch is next to the channels
    ("f32[4,256,256,3]{0,2,3,1:T(8,128)}", 256 * 3 * 256 * 128 * 4),  # the batch is innermost
    ("f32[100]{0:T(256)}", 256 * 4),
    ("pred[5]{0}", 5),
    ("s64[]", 8),
    ("u32[]{:S(2)}", 4),
    ("bf16[7,9]", 7 * 9 * 2),
])
def test_an_array_takes_whole_tiles(array, size):
    assert array_bytes(ARRAY.search(array)) == size


@pytest.mark.parametrize(("line", "moved"), [
    # One operand in memory, one on the chip, and the result in memory.
    ('%fusion.1 = f32[64,128]{1,0:T(8,128)} fusion(%Arg_0.1, %near), kind=kLoop, calls=%fused_whole, x={y="z(a)"}',
     2 * WHOLE),
    ("%fusion.2 = f32[8,128]{1,0:T(8,128)S(1)} fusion(%Arg_0.1), kind=kLoop, calls=%fused_slices", 2 * SLICE),
    ("%copy.1 = f32[64,128]{0,1:T(8,128)} copy(%Arg_0.1)", WHOLE + 128 * 128 * 4),  # the rows become lanes, padded
    ("%copy.2 = f32[64,128]{1,0:T(8,128)S(1)} copy(%near)", 0),
    ("ROOT %tuple.1 = (f32[64,128]{1,0:T(8,128)}, f32[64,128]{1,0:T(8,128)}) tuple(%Arg_0.1, %Arg_0.1)", 0),
    ("%add.9 = (f32[64,128]{1,0:T(8,128)}, f32[8,128]{1,0:T(8,128)S(1)}) custom-call(%near)", WHOLE),
])
def test_arrays_in_memory_count_where_they_are_read_and_written(line, moved):
    near = "%near = f32[64,128]{1,0:T(8,128)S(1)} constant(0)"
    assert traffic_of(near, line) == moved


def test_an_asynchronous_copy_counts_once():
    in_memory, near = "f32[64,128]{1,0:T(8,128)}", "f32[64,128]{1,0:T(8,128)S(1)}"
    fetched = (f"%copy-start.1 = ({near}, {in_memory}, u32[]{{:S(2)}}) copy-start(%Arg_0.1)",
               f"%copy-done.1 = {near} copy-done(%copy-start.1)")
    assert traffic_of(*fetched) == WHOLE
    stored = (f"%copy-start.2 = ({in_memory}, {near}, u32[]{{:S(2)}}) copy-start(%copy-done.1)",
              f"%copy-done.2 = {in_memory} copy-done(%copy-start.2)")
    assert traffic_of(*fetched, *stored) == 2 * WHOLE
    assert traffic_of(f"%copy-start.3 = ({in_memory}, {in_memory}, u32[]{{:S(2)}}) copy-start(%Arg_0.1)") == 2 * WHOLE


def test_an_asynchronous_slice_counts_only_the_slice():
    part = "f32[8,128]{1,0:T(8,128)S(1)}"
    start = (f"%slice-start.1 = ((f32[64,128]{{1,0:T(8,128)}}), {part}, s32[]{{:S(2)}}) slice-start(%Arg_0.1), "
             "slice={[8:16], [0:128]}")
    assert traffic_of(start, f"%slice-done.1 = {part} slice-done(%slice-start.1)") == SLICE
