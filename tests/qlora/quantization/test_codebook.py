import pytest
import torch

from qlora.quantization.blockwise import rank_among
from qlora.quantization.codebook import CODEBOOKS, bits_of, codebook, decision_thresholds, dynamic_map, normal_float


def test_derived_normal_float_reproduces_appendix_e():
    assert torch.equal(codebook("nf4")[[0, 7, 15]], torch.tensor([-1.0, 0.0, 1.0]))
    assert (normal_float(4) - codebook("nf4")).abs().max() <= 2.2e-7


@pytest.mark.parametrize("bits", range(2, 9))
def test_normal_float_levels(bits):
    levels = normal_float(bits)
    assert levels.numel() == 2**bits
    assert (levels.diff() > 0).all()
    assert levels[0] == -1 and levels[-1] == 1 and (levels == 0).sum() == 1


@pytest.mark.parametrize("bits", [1, 9])
def test_normal_float_refuses_other_bits(bits):
    with pytest.raises(ValueError, match="2 to 8 bits"):
        normal_float(bits)


def test_levels_equal_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional")
    assert torch.equal(codebook("nf4"), functional.get_4bit_type("nf4", device="cpu"))
    assert torch.equal(codebook("fp4-e2m1"), functional.get_4bit_type("fp4", device="cpu"))
    assert torch.equal(dynamic_map(), functional.create_dynamic_map())


def test_fp4_with_three_exponent_bits_holds_powers_of_two():
    magnitudes = codebook("fp4-e3m0").abs().unique()
    assert magnitudes.tolist() == [0.0, *(2.0**-i for i in range(6, -1, -1))]


@pytest.mark.parametrize("name", CODEBOOKS)
def test_ranks_are_those_of_a_search(name):
    """On and beside every threshold, at both ends, and in between."""
    thresholds, _ = decision_thresholds(name)
    ends = torch.tensor([-1.0, -0.0, 0.0, 1.0])
    beside = [torch.nextafter(thresholds, torch.tensor(to)) for to in (-9.0, 9.0)]
    random = torch.rand(100_000, generator=torch.manual_seed(0)) * 2 - 1
    values = torch.cat([ends, thresholds, *beside, random, random * 1e-3]).clamp(-1, 1)
    assert torch.equal(rank_among(thresholds, values), torch.bucketize(values, thresholds, out_int32=True))


@pytest.mark.parametrize("name", CODEBOOKS)
def test_thresholds_lie_between_the_levels_they_separate(name):
    thresholds, order = decision_thresholds(name)
    ascending = codebook(name)[order.long()]
    assert thresholds.numel() == 2 ** bits_of(name) - 1
    assert (ascending[:-1] <= thresholds).all() and (thresholds <= ascending[1:]).all()


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'nf9'.*nf4.*int4"):
        codebook("nf9")


def test_levels_are_real_when_first_used_under_the_meta_device():
    codebook.cache_clear()
    with torch.device("meta"):
        assert codebook("int4").device.type == "cpu"
