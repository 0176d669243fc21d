; DIV, TIMA and its reload, and how interrupts, EI and HALT take their time by them.

    .area _HEADER (ABS)
    .org 0x0040
    reti
    .org 0x0050
    jp on_timer
    .org 0x0100
    nop
    jp start

    .org 0x0150
    .include "harness.inc"

; TIMA every four M-cycles, from 0 and a fresh divider.
fresh:
    xor a, a
    ldh (IE), a
    ldh (TMA), a
    ldh (TIMA), a
    ld a, #5
    ldh (TAC), a
    xor a, a
    ldh (DIV), a
    ldh (TIMA), a
    ldh (IFLAG), a
    ret

; The handler: notes TIMA, which says how long it took to get here, and the return address.
on_timer:
    ldh a, (TIMA)
    call note
    pop hl
    push hl
    ld a, l
    call note
    ret                             ; interrupts stay off

start:
    di
    ld sp, #0xDFFF
    call begin

    ld b, #0                        ; TIMA against the wait: steps of four
1$: call fresh
    call wait
    ldh a, (TIMA)
    call note
    inc b
    ld a, b
    cp a, #12
    jr nz, 1$

    ld b, #0                        ; around the overflow: FF, 00, then TMA; and IF
2$: call fresh
    ld a, #0x37
    ldh (TMA), a
    ld a, #0xFA
    ldh (TIMA), a
    call wait
    ldh a, (TIMA)
    call note
    ldh a, (IFLAG)
    call note
    inc b
    ld a, b
    cp a, #12
    jr nz, 2$

    ld b, #0                        ; clearing DIV steps TIMA when the bit was high
3$: call fresh
    call wait
    ldh (DIV), a
    ldh a, (TIMA)
    call note
    inc b
    ld a, b
    cp a, #8
    jr nz, 3$

    ld b, #0                        ; stopping the timer does, too
4$: call fresh
    call wait
    xor a, a
    ldh (TAC), a
    ldh a, (TIMA)
    call note
    inc b
    ld a, b
    cp a, #8
    jr nz, 4$

    ld b, #0                        ; writing TIMA in the cycle of the reload has no effect
5$: call fresh
    ld a, #0x50
    ldh (TMA), a
    ld a, #0xFA
    ldh (TIMA), a
    call wait
    ld a, #0x20
    ldh (TIMA), a
    ldh a, (TIMA)
    call note
    inc b
    ld a, b
    cp a, #12
    jr nz, 5$

    ld b, #0                        ; the interrupt is taken between instructions
6$: call fresh
    ld a, #4
    ldh (IE), a
    ld a, #0xF0
    ldh (TIMA), a
    push bc
    ei
    call wait
    .rept 40
    nop
    .endm
    di
    pop bc
    inc b
    ld a, b
    cp a, #6
    jr nz, 6$

    call fresh                      ; HALT: the same, from rest
    ld a, #4
    ldh (IE), a
    ld a, #0xF0
    ldh (TIMA), a
    ei
    halt
    nop
    di
    call fresh                      ; with interrupts off HALT only waits
    ld a, #4
    ldh (IE), a
    ld a, #0xF0
    ldh (TIMA), a
    halt
    nop
    ldh a, (TIMA)
    call note

    ld a, #4                        ; HALT with one pending: the next byte is read twice
    ldh (IE), a
    ldh (IFLAG), a
    ld b, #0
    halt
    inc b
    nop
    ld a, b
    call note

    ld a, #0x55                     ; the divider as read, 64 M-cycles a step
    ldh (DIV), a
    ld b, #40
    call wait
    ldh a, (DIV)
    call note
    ld b, #50
    call wait
    ldh a, (DIV)
    call note

    ld a, #8                        ; a serial byte takes 8 times 128 M-cycles
    ldh (IE), a
    xor a, a
    ldh (IFLAG), a
    ldh (DIV), a
    ld a, #0x42
    ldh (SB), a
    ld a, #0x81
    ldh (SC), a
    ld c, #0
7$: inc c
    ld b, #100
    call wait
    ldh a, (IFLAG)
    and a, #8
    jr z, 7$
    ld a, c
    call note
    ldh a, (SB)
    call note
    jp compare

expected:
    .include "timer.expected"
expected_end:
