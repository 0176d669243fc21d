; MBC5: ROM and RAM banking.

    .area _HEADER (ABS)
    .org 0x0000
    .db 0xAA
    .org 0x0100
    nop
    jp start

    .org 0x0150
    .include "harness.inc"



; Eight bits and a ninth apart; bank 0 can be had here.
rom_bank:
    ld (0x2000), a
    push af
    xor a, a
    ld (0x3000), a
    pop af
    ret
ram_bank:
    ld (0x4000), a
    ret
ram_on:
    ld a, #0x0A
    ld (0x0000), a
    ret
ram_off:
    ld a, #0x1A
    ld (0x0000), a
    ret
start:
    di
    ld sp, #0xDFFF
    call begin
    call banks
    jp compare

expected:
    .include "mbc5.expected"
expected_end:

    .include "banks.inc"
