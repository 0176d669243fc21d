; What a program can read of the sound: masks, length counters, the sweep's overflow, power.

    .area _HEADER (ABS)
    .org 0x0100
    nop
    jp start

    .org 0x0150
    .include "harness.inc"

; Notes how many waits of 1024 M-cycles the status bits D of NR52 stay set (255: for ever).
lasts:
    ld c, #0
1$: ldh a, (NR52)
    and a, d
    jr z, 2$
    inc c
    ld a, c
    cp a, #255
    jr z, 2$
    ld e, #8
3$: ld b, #100
    call wait
    dec e
    jr nz, 3$
    jr 1$
2$: ld a, c
    jp note

; A fresh start: off, on, the sequencer at its first step.
power:
    xor a, a
    ldh (NR52), a
    ldh (DIV), a
    ld a, #0x80
    ldh (NR52), a
    ret

start:
    di
    ld sp, #0xDFFF
    call begin
    call power

    ld hl, #0xFF10                  ; every register full of ones, then of zeros
1$: ld a, #0xFF
    ld (hl), a
    ld a, (hl)
    call note
    xor a, a
    ld (hl), a
    ld a, (hl)
    call note
    inc l
    ld a, l
    cp a, #0x26
    jr nz, 1$

    call power                      ; channel 2, lengths 64-n
    ld b, #0
2$: push bc
    ld a, b
    or a, #0x38
    ldh (NR21), a
    ld a, #0xF0
    ldh (NR22), a
    ld a, #0xC7
    ldh (NR24), a
    ld d, #2
    call lasts
    pop bc
    inc b
    ld a, b
    cp a, #8
    jr nz, 2$
    ld a, #0x87                     ; without the length: for ever, until the DAC goes off
    ldh (NR24), a
    ld d, #2
    call lasts
    xor a, a
    ldh (NR22), a
    ldh a, (NR52)
    call note

    call power                      ; the wave channel counts 256
    ld a, #0x80
    ldh (NR30), a
    ld a, #0xF0
    ldh (NR31), a
    ld a, #0xC7
    ldh (NR34), a
    ld d, #4
    call lasts

    call power                      ; the sweep runs over the top
    ld a, #0xF0
    ldh (NR12), a
    ld a, #0x11
    ldh (NR10), a
    xor a, a
    ldh (NR13), a
    ld a, #0x84
    ldh (NR14), a
    ld d, #1
    call lasts
    ld a, #0x87                     ; at once, when the first step already does
    ldh (NR14), a
    ldh a, (NR52)
    call note
    ld a, #0x19                     ; downwards never; but turning round afterwards stops it
    ldh (NR10), a
    ld a, #0x87
    ldh (NR14), a
    ldh a, (NR52)
    call note
    ld a, #0x11
    ldh (NR10), a
    ldh a, (NR52)
    call note

    xor a, a                        ; off: everything reads as never written, lengths can be set
    ldh (NR52), a
    ld a, #0xF3
    ldh (NR12), a
    ldh a, (NR12)
    call note
    ldh a, (NR52)
    call note
    jp compare

expected:
    .include "sound.expected"
expected_end:
