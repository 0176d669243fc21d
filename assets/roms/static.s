; A village by a lake at dusk: one still picture. Nothing changes after the screen is on.

    .area _HEADER (ABS)

    .org 0x0040                     ; vertical blank: only wakes the main loop
    reti

    .org 0x0100
    nop
    jp start

    .org 0x0150
start:
    di
    ld sp, #0xFFFE
    call screen_off

    ld hl, #tiles
    ld de, #0x8000
    ld bc, #tiles_end - tiles
    call copy
    ld hl, #map
    ld de, #0x9800
    ld bc, #map_end - map
    call copy

    xor a, a
    ldh (SCX), a
    ldh (SCY), a
    ldh (IFLAG), a
    ld a, #0xE4                     ; shades in order
    ldh (BGP), a
    ld a, #0x01                     ; vertical blank interrupt
    ldh (IE), a
    ld a, #0x91                     ; screen, tiles at 8000, map at 9800, background
    ldh (LCDC), a
    ei
still:
    halt
    nop
    jr still

    .include "common.inc"
    .include "static_art.inc"
