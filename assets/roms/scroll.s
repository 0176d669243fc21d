; A valley scrolls by, one pixel every three frames; the status bar (window layer) stands still.

PACE .equ 3                         ; frames for one pixel

wait   .equ 0xC000                  ; frames left until the next pixel
camera .equ 0xC001                  ; left edge of the view in the 256-pixel world

    .area _HEADER (ABS)

    .org 0x0040
    jp vblank

    .org 0x0100
    nop
    jp start

    .org 0x0150
start:
    di
    ld sp, #0xDFFF
    call screen_off

    ld hl, #tiles
    ld de, #0x8000
    ld bc, #tiles_end - tiles
    call copy
    ld hl, #map
    ld de, #0x9800
    ld bc, #map_end - map
    call copy
    ld hl, #bar
    ld de, #0x9C00
    ld bc, #bar_end - bar
    call copy

    xor a, a
    ldh (SCX), a
    ldh (SCY), a
    ldh (IFLAG), a
    ld (camera), a
    ld a, #PACE
    ld (wait), a
    ld a, #0xE4
    ldh (BGP), a
    ld a, #128                      ; the last 16 lines show the window
    ldh (WY), a
    ld a, #7
    ldh (WX), a
    ld a, #0x01
    ldh (IE), a
    ld a, #0xF1                     ; screen, window map 9C00, window, tiles at 8000, background
    ldh (LCDC), a
    ei
loop:
    halt
    nop
    jr loop

; Moves the camera; the registers are written while nothing is drawn.
vblank:
    push af
    ld a, (wait)
    dec a
    jr nz, 1$
    ld a, (camera)
    inc a
    ld (camera), a
    ldh (SCX), a
    ld a, #PACE
1$: ld (wait), a
    pop af
    reti

    .include "common.inc"
    .include "scroll_art.inc"
