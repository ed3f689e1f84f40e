"""The fixed tables of QUIC: its Golomb-Rice codes and the numbers its model runs on (dossier E.1)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

CODEWORD_LIMIT = 26  # bits of the longest codeword
TABLE_BITS = 10  # codewords of up to this length are decoded by one look into a table
VALID = 0x80  # set in the table entries that hold a whole codeword

#: Counters of a bucket are halved when the best one exceeds this, by the width of the wait mask.
TRIGGERS = (110, 550, 900, 800, 550, 400, 350)

#: Bits of the remainder of a run length, by the state of the run coder.
RUN_ORDERS = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13, 14, 15)

#: Pseudo-random waiting times between two updates of the model: `tabrand_chaos` of spice-common's quic.c.
# fmt: off
CHAOS = (
    0x02C57542, 0x35427717, 0x2F5A2153, 0x9244F155, 0x7BD26D07, 0x354C6052, 0x57329B28, 0x2993868E,
    0x6CD8808C, 0x147B46E0, 0x99DB66AF, 0xE32B4CAC, 0x1B671264, 0x9D433486, 0x62A4C192, 0x06089A4B,
    0x9E3DCE44, 0xDAABEE13, 0x222425EA, 0xA46F331D, 0xCD589250, 0x8BB81D7F, 0xC8B736B9, 0x35948D33,
    0xD7AC7FD0, 0x5FBE2803, 0x2CFBC105, 0x013DBC4E, 0x7A37820F, 0x39F88E9E, 0xEDD58794, 0xC5076689,
    0xFCADA5A4, 0x64C2F46D, 0xB3BA3243, 0x8974B4F9, 0x5A05AEBD, 0x20AFCD00, 0x39E2B008, 0x88A18A45,
    0x600BDE29, 0xF3971ACE, 0xF37B0A6B, 0x7041495B, 0x70B707AB, 0x06BEFFBB, 0x4206051F, 0xE13C4EE3,
    0xC1A78327, 0x91AA067C, 0x8295F72A, 0x732917A6, 0x1D871B4D, 0x4048F136, 0xF1840E7E, 0x6A6048C1,
    0x696CB71A, 0x7FF501C3, 0x0FC6310B, 0x57E0F83D, 0x8CC26E74, 0x11A525A2, 0x946934C7, 0x7CD888F0,
    0x8F9D8604, 0x4F86E73B, 0x04520316, 0xDEEEA20C, 0xF1DEF496, 0x67687288, 0xF540C5B2, 0x22401484,
    0x3478658A, 0xC2385746, 0x01979C2C, 0x5DAD73C8, 0x0321F58B, 0xF0FEDBEE, 0x92826DDF, 0x284BEC73,
    0x5B1A1975, 0x03DF1E11, 0x20963E01, 0xA17CF12B, 0x740D776E, 0xA7A6BF3C, 0x01B5CCE4, 0x1118AA76,
    0xFC6FAC0A, 0xCE927E9B, 0x00BF2567, 0x806F216C, 0xBCA69056, 0x795BD3E9, 0xC9DC4557, 0x8929B6C2,
    0x789D52EC, 0x3F3FBF40, 0xB9197368, 0xA38C15B5, 0xC3B44FA8, 0xCA8333B0, 0xB7E8D590, 0xBE807FEB,
    0xBF5F8360, 0xD99E2F5C, 0x372928E1, 0x7C757C4C, 0x0DB5B154, 0xC01EDE02, 0x1FC86E78, 0x1F3985BE,
    0xB4805C77, 0x00C880FA, 0x974C1B12, 0x35AB0214, 0xB2DC840D, 0x5B00AE37, 0xD313B026, 0xB260969D,
    0x7F4C8879, 0x1734C4D3, 0x49068631, 0xB9F6A021, 0x6B863E6F, 0xCEE5DEBF, 0x29F8C9FB, 0x53DD6880,
    0x72B61223, 0x1F67A9FD, 0x0A0F6993, 0x13E59119, 0x11CCA12E, 0xFE6B6766, 0x16B6EFFC, 0x97918FC4,
    0xC2B8A563, 0x94F2F741, 0x0BFA8C9A, 0xD1537AE8, 0xC1DA349C, 0x873C60CA, 0x95005B85, 0x9B5C080E,
    0xBC8ABBD9, 0xE1EAB1D2, 0x6DAC9070, 0x4EA9EBF1, 0xE0CF30D4, 0x1EF5BD7B, 0xD161043E, 0x5D2FA2E2,
    0xFF5D3CAE, 0x86ED9F87, 0x2AA1DAA1, 0xBD731A34, 0x9E8F4B22, 0xB1C2C67A, 0xC21758C9, 0xA182215D,
    0xCCB01948, 0x8D168DF7, 0x04238CFE, 0x368C3DBC, 0x0AEADCA5, 0xBAD21C24, 0x0A71FEE5, 0x9FC5D872,
    0x54C152C6, 0xFC329483, 0x6783384A, 0xEDDB3E1C, 0x65F90E30, 0x884AD098, 0xCE81675A, 0x4B372F7D,
    0x68BF9A39, 0x43445F1E, 0x40F8D8CB, 0x90D5ACB6, 0x4CD07282, 0x349EEB06, 0x0C9D5332, 0x520B24EF,
    0x80020447, 0x67976491, 0x2F931CA3, 0xFE9B0535, 0xFCD30220, 0x61A9E6CC, 0xA487D8D7, 0x3F7C5DD1,
    0x7D0127C5, 0x48F51D15, 0x60DEA871, 0xC9A91CB7, 0x58B53BB3, 0x9D5E0B2D, 0x624A78B4, 0x30DBEE1B,
    0x9BDF22E7, 0x1DF5C299, 0x2D5643A7, 0xF4DD35FF, 0x03CA8FD6, 0x53B47ED8, 0x6F2C19AA, 0xFEB0C1F4,
    0x49E54438, 0x2F2577E6, 0xBF876969, 0x72440EA9, 0xFA0BAFB8, 0x74F5B3A0, 0x7DD357CD, 0x89CE1358,
    0x6EF2CDDA, 0x1E7767F3, 0xA6BE9FDB, 0x4F5F88F8, 0xBA994A3A, 0x08CA6B65, 0xE0893818, 0x9E00A16A,
    0xF42BFC8F, 0x9972EEDC, 0x749C8B51, 0x32C05F5E, 0xD706805F, 0x6BFBB7CF, 0xD9210A10, 0x31A1DB97,
    0x923A9559, 0x37A7A1F6, 0x059F8861, 0xCA493E62, 0x65157E81, 0x8F6467DD, 0xAB85FF9F, 0x9331AFF2,
    0x8616B9F5, 0xEDBD5695, 0xEE7E29B1, 0x313AC44F, 0xB903112F, 0x432EF649, 0xDC0A36C0, 0x61CF2BBA,
    0x81474925, 0xA8B6C7AD, 0xEE5931DE, 0xB2F8158D, 0x59FB7409, 0x2E3DFAED, 0x9AF25A3F, 0xE1FED4D5,
)
# fmt: on


class Codes(NamedTuple):
    """The Golomb-Rice codes for one depth, as the kernels want them. U is a residual, L its rank by magnitude."""

    table: np.ndarray[Any, Any]  # [code << 10 | next 10 bits]: U << 8 | VALID | length, or 0 when it is longer
    words: np.ndarray[Any, Any]  # [code << 8 | U]: value << 8 | length of the codeword, no value being over 255
    lengths: np.ndarray[Any, Any]  # [U * 8 + code]: bits of the codeword
    costs: np.ndarray[Any, Any]  # [U * 2, U * 2 + 1]: the lengths times 8, code 0 to 3 and 4 to 7, in 16 bits each
    idle: np.ndarray[Any, Any]  # two such words: 7 - code, and 0x7FF8 more for codes that do not exist
    prefixes: np.ndarray[Any, Any]  # [code]: so many zeros begin a codeword of the second form
    suffixes: np.ndarray[Any, Any]  # [code]: bits that follow them
    residuals: np.ndarray[Any, Any]  # [L]: U
    buckets: np.ndarray[Any, Any]  # [U]: bucket of the model that U as a context selects
    starts: np.ndarray[Any, Any]  # [bucket]: its first L; one more entry for the end


@cache
def codes_of(depth: int) -> Codes:
    """The codes for channels of 5 or 8 bits."""
    levels = 1 << depth
    table = np.zeros(8 << TABLE_BITS, np.uint16)
    words = np.zeros(8 << 8, np.uint16)
    lengths = np.zeros(256 * 8, np.uint8)
    prefixes = np.zeros(8, np.uint8)
    suffixes = np.zeros(8, np.uint8)
    ranks = np.arange(256)
    residuals = np.where(ranks & 1, levels - 1 - (ranks >> 1), ranks >> 1).astype(np.uint8)
    starts = [0, *((1 << n) - 1 for n in range(1, depth)), levels]
    buckets = np.zeros(256, np.uint8)
    for bucket, first in enumerate(starts[:-1]):
        buckets[residuals[first : starts[bucket + 1]]] = bucket
    for code in range(depth):
        prefixes[code] = min(CODEWORD_LIMIT - depth, (1 << (depth - code)) - 1)
        suffixes[code] = (levels - (int(prefixes[code]) << code) - 1).bit_length()
        for rank, (word, length) in enumerate(codewords(depth, code)):
            words[code << 8 | int(residuals[rank])] = word << 8 | length
            lengths[int(residuals[rank]) * 8 + code] = length
            spare = TABLE_BITS - length
            if spare >= 0:
                first = (code << TABLE_BITS) + (word << spare)
                table[first : first + (1 << spare)] = int(residuals[rank]) << 8 | VALID | length
    costs = (lengths.astype("<u2") * 8).view("<u8")
    idle = np.array([7 - code + 0x7FF8 * (code >= depth) for code in range(8)], "<u2").view("<u8")
    ends = np.array(starts, np.uint32)
    return Codes(table, words, lengths, costs, idle, prefixes, suffixes, residuals, buckets, ends)


def codewords(depth: int, code: int) -> Iterator[tuple[int, int]]:
    """The codewords of one Golomb-Rice code, by rank: value and length in bits.

    `depth` is the number of bits of a channel, `code` the Rice parameter below it. A codeword is so many zeros, a one
    and `code` low bits, until the prefix reaches the limit that keeps it below 27 bits; then the rest is binary.
    """
    prefix = min(CODEWORD_LIMIT - depth, (1 << (depth - code)) - 1)
    first_binary = prefix << code
    suffix = ((1 << depth) - first_binary - 1).bit_length()
    for rank in range(1 << depth):
        if rank < first_binary:
            yield (1 << code) | (rank & ((1 << code) - 1)), (rank >> code) + 1 + code
        else:
            yield rank - first_binary, prefix + suffix
