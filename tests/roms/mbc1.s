; MBC1: ROM and RAM banking.

    .area _HEADER (ABS)
    .org 0x0000
    .db 0xAA
    .org 0x0100
    nop
    jp start

    .org 0x0150
    .include "harness.inc"

; The lower five bits; bank 0 cannot be had here.
rom_bank:
    ld (0x2000), a
    ret
; In mode 1 the other register is the RAM bank.
ram_bank:
    ld (0x4000), a
    ret
ram_on:
    ld a, #1
    ld (0x6000), a
    ld a, #0x0A
    ld (0x0000), a
    ret
ram_off:
    xor a, a
    ld (0x0000), a
    ld (0x4000), a
    ld (0x6000), a
    ret


start:
    di
    ld sp, #0xDFFF
    call begin
    call banks
    jp compare

expected:
    .include "mbc1.expected"
expected_end:

    .include "banks.inc"
