import torch
from hypothesis import given
from hypothesis import strategies as st

from qlora.quantization.packing import pack, packed_bytes, unpack


@given(bits=st.integers(1, 8), seed=st.integers(0, 10**6), count=st.integers(0, 77))
def test_unpacking_undoes_packing(bits, seed, count):
    codes = torch.randint(2**bits, (count,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    packed = pack(codes, bits)
    assert packed.dtype == torch.uint8 and packed.numel() == packed_bytes(count, bits)
    assert torch.equal(unpack(packed, bits, count), codes)


def test_the_first_code_is_the_high_nibble():
    assert pack(torch.tensor([1, 2, 3], dtype=torch.uint8), 4).tolist() == [0x12, 0x30]


def test_three_bits_run_on_across_bytes():
    assert pack(torch.tensor([0b101, 0b010, 0b111], dtype=torch.uint8), 3).tolist() == [0b10101011, 0b10000000]
