; OAM DMA: when it starts and ends, and what the CPU sees and spoils meanwhile.

    .area _HEADER (ABS)
    .org 0x0100
    nop
    jp start

    .org 0x0150
    .include "harness.inc"

routine .equ 0xFF80                 ; all of it runs in high RAM, which DMA leaves alone

; DMA from C200; B M-cycles later A is what (HL) reads. Ends with the transfer over.
read_during:
    ld a, #0xC2
    ldh (DMA), a
1$: dec b
    jr nz, 1$
    ld a, (hl)
    ld b, #60
2$: dec b
    jr nz, 2$
    ret
read_end:

; The same, but writes E to (HL).
write_during:
    ld a, #0xC2
    ldh (DMA), a
1$: dec b
    jr nz, 1$
    ld (hl), e
    ld b, #60
2$: dec b
    jr nz, 2$
    ret
write_end:

; Copies the routine at HL, C bytes, to high RAM.
install:
    ld de, #routine
1$: ld a, (hl+)
    ld (de), a
    inc de
    dec c
    jr nz, 1$
    ret

start:
    di
    ld sp, #0xDFFF
    call begin
    call screen_off
    ld hl, #0xC200                  ; the source: 0, 1, 2, ...
    xor a, a
1$: ld (hl+), a
    inc a
    jr nz, 1$
    ld hl, #0x8000
    ld bc, #16
    ld d, #0x77
    call fill
    ld sp, #0xFFFE

    ld hl, #read_during
    ld c, #read_end-read_during
    call install
    ld b, #1                        ; OAM reads FF until the transfer is over
2$: push bc
    ld hl, #0xFE05
    call routine
    pop bc
    call note
    inc b
    ld a, b
    cp a, #44
    jr nz, 2$
    ld b, #1                        ; the same bus: the byte under way
3$: push bc
    ld hl, #0xC300
    call routine
    pop bc
    call note
    inc b
    ld a, b
    cp a, #8
    jr nz, 3$
    ld b, #20                       ; video memory is another bus
    ld hl, #0x8003
    call routine
    call note

    ld hl, #write_during            ; a write on the same bus lands in OAM: AND for WRAM
    ld c, #write_end-write_during
    call install
    ld b, #11
    ld e, #0x05
    ld hl, #0xC280
    call routine
    ld hl, #0xFE00
    ld c, #160
4$: ld a, (hl+)
    call note
    dec c
    jr nz, 4$
    jp compare

expected:
    .include "dma.expected"
expected_end:
