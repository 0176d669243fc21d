; A harbour: a still background and actors that move over it, each on its own path.
;
; Every second frame each actor takes the next entry of its path (OAM y, OAM x, shape) and its
; shape is written as 8x16 objects into a buffer, which the next vertical blank copies to OAM by
; DMA from a routine in high RAM.

buffer .equ 0xC000                  ; 160 bytes, copied to OAM
places .equ 0xC0A0                  ; per actor: address of its next path entry
even   .equ 0xC0F0                  ; counts frames; actors move on the even ones
left   .equ 0xC0F1                  ; actors still to place this time
base_y .equ 0xC0F2                  ; corner of the actor being placed
base_x .equ 0xC0F3
dma    .equ 0xFF80                  ; the DMA routine

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
    ld de, #0x8800
    ld bc, #tiles_end - tiles
    call copy
    ld hl, #objects
    ld de, #0x8000
    ld bc, #objects_end - objects
    call copy
    ld hl, #map
    ld de, #0x9800
    ld bc, #map_end - map
    call copy
    ld hl, #dma_code
    ld de, #dma
    ld bc, #dma_code_end - dma_code
    call copy
    ld hl, #buffer
    ld bc, #0x0100
    ld d, #0
    call fill
    call dma

    ld hl, #paths                   ; every actor at the start of its path
    ld de, #places
    ld c, #ACTORS
1$: ld a, (hl+)
    ld (de), a
    inc de
    ld a, (hl+)
    ld (de), a
    inc de
    inc hl
    inc hl
    dec c
    jr nz, 1$
    call place_actors

    xor a, a
    ldh (SCX), a
    ldh (SCY), a
    ldh (IFLAG), a
    ld a, #0xE4
    ldh (BGP), a
    ld a, #0xE0                     ; objects: colours 1,2,3 are shades 0,2,3
    ldh (OBP0), a
    ld a, #0xD0                     ; or shades 0,1,3
    ldh (OBP1), a
    ld a, #0x01
    ldh (IE), a
    ld a, #0x87                     ; screen, tiles at 8800, map at 9800, 8x16 objects, background
    ldh (LCDC), a
    ei
loop:
    halt
    nop
    ld hl, #even
    inc (hl)
    bit 0, (hl)
    call z, place_actors
    jr loop

vblank:
    push af
    call dma
    pop af
    reti

; Copied to high RAM: starts the copy of the buffer and waits until it is done.
dma_code:
    ld a, #0xC0
    ldh (DMA), a
    ld a, #40
1$: dec a
    jr nz, 1$
    ret
dma_code_end:

; Writes all actors into the buffer and advances their paths. Objects left over are put off screen.
place_actors:
    ld de, #buffer
    ld a, #ACTORS
    ld (left), a
    ld hl, #places
1$: push hl
    ld a, (hl+)
    ld h, (hl)
    ld l, a                         ; hl = path entry
    ld a, (hl+)
    ld (base_y), a
    ld a, (hl+)
    ld (base_x), a
    ld a, (hl+)
    push hl                         ; next entry
    ld l, a
    ld h, #0
    add hl, hl
    ld bc, #shapes
    add hl, bc
    ld a, (hl+)
    ld h, (hl)
    ld l, a                         ; hl = shape
    ld a, (hl+)
    ld c, a                         ; its objects
2$: ld a, (base_y)
    add a, (hl)
    inc hl
    ld (de), a
    inc e
    ld a, (base_x)
    add a, (hl)
    inc hl
    ld (de), a
    inc e
    ld a, (hl+)
    ld (de), a
    inc e
    ld a, (hl+)
    ld (de), a
    inc e
    dec c
    jr nz, 2$
    pop bc                          ; next entry
    call wrap_path
    pop hl
    ld a, c
    ld (hl+), a
    ld a, b
    ld (hl+), a
    ld a, (left)
    dec a
    ld (left), a
    jr nz, 1$

3$: ld a, e                         ; hide the rest
    cp a, #160
    ret z
    xor a, a
    ld (de), a
    inc e
    inc e
    inc e
    inc e
    jr 3$

; bc = path entry of the actor that `left` counts; back to the start where the path has ended.
; Keeps de.
wrap_path:
    ld a, (left)
    ld l, a
    ld a, #ACTORS
    sub a, l
    add a, a
    add a, a
    ld l, a
    ld h, #0
    push bc
    ld bc, #paths
    add hl, bc
    pop bc
    inc hl
    inc hl
    ld a, (hl+)
    cp a, c
    ret nz
    ld a, (hl)
    cp a, b
    ret nz
    dec hl
    dec hl
    ld a, (hl-)
    ld b, a
    ld c, (hl)
    ret

    .include "common.inc"
    .include "sprites_art.inc"
