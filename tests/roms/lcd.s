; Where a line's modes begin and end, by reading STAT, and when its interrupts come.

    .area _HEADER (ABS)
    .org 0x0040
    reti
    .org 0x0048
    reti
    .org 0x0100
    nop
    jp start

    .org 0x0150
    .include "harness.inc"

; Stops at line C, a known number of M-cycles after its beginning, whatever was going on before.
to_line:
    ld a, c
    ldh (LYC), a
    ld a, #0x40
    ldh (STAT), a
    ld a, #2
    ldh (IE), a
    xor a, a
    ldh (IFLAG), a
    halt
    nop
    xor a, a
    ldh (STAT), a
    ret

; Notes the first wait after the start of line C at which (STAT and D) = E.
find:
    ld b, #0
1$: push bc
    push de
    call to_line
    call wait
    ldh a, (STAT)
    pop de
    pop bc
    and a, d
    cp a, e
    jr z, 2$
    inc b
    bit 7, b
    jr z, 1$
2$: ld a, b
    jp note

; The length of mode 3 of line 16 with the registers as they are.
mode3:
    ld c, #16
    ld d, #3
    ld e, #0
    jp find

; Loads OAM: E sprites on line 16, the first at x = D, then 8 apart; the others off.
sprites:
    ld hl, #0xFE00
    ld c, #40
1$: ld a, e
    or a, a
    jr z, 2$
    dec e
    ld a, #32
    ld (hl+), a
    ld a, d
    ld (hl+), a
    add a, #8
    ld d, a
    jr 3$
2$: xor a, a
    ld (hl+), a
    ld (hl+), a
3$: xor a, a
    ld (hl+), a
    ld (hl+), a
    dec c
    jr nz, 1$
    ret

; Sprites E from D on, then mode 3 with them.
with_sprites:
    call screen_off
    call sprites
    ld a, #0x93
    ldh (LCDC), a
    jp mode3

start:
    di
    ld sp, #0xDFFF
    call begin
    call screen_off
    ld d, #0
    ld e, #0
    call sprites
    ld a, #0x91
    ldh (LCDC), a

    ld b, #0                        ; fine scroll
scroll:
    ld a, b
    ldh (SCX), a
    push bc
    call mode3
    pop bc
    inc b
    ld a, b
    cp a, #8
    jr nz, scroll
    xor a, a
    ldh (SCX), a

    ld a, #16                       ; the window
    ldh (WY), a
    ld a, #7
    ldh (WX), a
    ld a, #0xB1
    ldh (LCDC), a
    call mode3
    ld a, #166
    ldh (WX), a
    call mode3
    ld a, #17                       ; not on this line
    ldh (WY), a
    ld a, #7
    ldh (WX), a
    call mode3

    ld de, #0x0801                  ; one sprite at x = 8, then at 12, 0, 167, 168
    call with_sprites
    ld de, #0x0C01
    call with_sprites
    ld de, #0x0001
    call with_sprites
    ld de, #0xA701
    call with_sprites
    ld de, #0xA801
    call with_sprites
    ld de, #0x080A                  ; ten, and one more that is too many
    call with_sprites
    ld de, #0x080B
    call with_sprites
    ld de, #0x0000
    call with_sprites

    ld c, #15                       ; line 15: mode 2 of the next one, LY, comparison bit
    ld de, #0x0300
    call find
    ld c, #16                       ; mode 2 ends
    ld de, #0x0303
    call find
    ld c, #153                      ; line 153: LY is 0 after one M-cycle, the comparison follows
    ld de, #0x0400
    call find

    ld c, #16                       ; which LY is read around the end of a line
    ld b, #76
1$: push bc
    call to_line
    call wait
    ldh a, (LY)
    pop bc
    call note
    inc b
    ld a, b
    cp a, #88
    jr nz, 1$

    ld b, #66                       ; and when the interrupt of mode 2 is requested
2$: push bc
    ld c, #16
    call to_line
    ld a, #0x20
    ldh (STAT), a
    xor a, a
    ldh (IFLAG), a
    call wait
    ldh a, (IFLAG)
    pop bc
    call note
    inc b
    ld a, b
    cp a, #82
    jr nz, 2$
    jp compare

expected:
    .include "lcd.expected"
expected_end:
