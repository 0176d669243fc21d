; MBC3: ROM and RAM banking.

    .area _HEADER (ABS)
    .org 0x0000
    .db 0xAA
    .org 0x0100
    nop
    jp start

    .org 0x0150
    .include "harness.inc"


rom_bank:
    ld (0x2000), a
    ret
ram_bank:
    ld (0x4000), a
    ret
ram_on:
    ld a, #0x0A
    ld (0x0000), a
    ret
ram_off:
    xor a, a
    ld (0x0000), a
    ret

start:
    di
    ld sp, #0xDFFF
    call begin
    call banks
    jp compare

expected:
    .include "mbc3.expected"
expected_end:

    .include "banks.inc"
