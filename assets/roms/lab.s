; A small adventure on a grid of 16 pixels: a laboratory, its yard, a village and a cottage. Three
; stages are chosen on the title screen: leave the laboratory, enter the cottage, run an errand.
;
; Walking takes 16 frames a cell. A press in another direction than the figure looks turns it; when
; the button is still down 5 frames later it walks. So a tap turns, and a press of 8 frames is one
; cell in any direction. One person wanders through the laboratory by a clock and a shift register
; of its own. The goal of a stage stays as it was reached for 96 frames: buttons count again after
; that.

buffer .equ 0xC000                  ; 160 bytes, copied to OAM
tick   .equ 0xC0A0                  ; set by every vertical blank
keys   .equ 0xC0A1                  ; down now: right 0, left, up, down 3, A 4, B, SELECT, START 7
edges  .equ 0xC0A2                  ; went down in this frame
room   .equ 0xC0A3
stage  .equ 0xC0A4                  ; 0 exit, 1 house, 2 errand
hold   .equ 0xC0A5                  ; frames for which nothing moves yet
lock   .equ 0xC0A6                  ; frames until a turned figure may walk
cargo  .equ 0xC0A7                  ; 1: the parcel has been fetched
timer  .equ 0xC0A8                  ; frames until the wandering person decides
chance .equ 0xC0A9                  ; 2 bytes, shift register
cells  .equ 0xC0AB                  ; 2 bytes, address of the room's cells
player .equ 0xC0B0                  ; figures: x, y, direction, walk left, foot, tile, attribute
person .equ 0xC0B8
kind   .equ 0xC0BF                  ; of the person: 0 nobody, 1 wanders, 2 stands
fig_walk .equ 0xC0C0                ; the figure being drawn
fig_dir  .equ 0xC0C1
fig_y    .equ 0xC0C2
fig_x    .equ 0xC0C3
fig_tile .equ 0xC0C4
fig_attr .equ 0xC0C5
fig_flip .equ 0xC0C6
dma    .equ 0xFF80                  ; the DMA routine

DIV    .equ 0x04

F_X    .equ 0
F_DIR  .equ 2
F_WALK .equ 3
F_FOOT .equ 4
F_TILE .equ 5

DOWN  .equ 0
UP    .equ 1
LEFT  .equ 2
RIGHT .equ 3

WALK_FRAMES .equ 16
TURN_FRAMES .equ 4
HOLD_FRAMES .equ 96

TITLE   .equ 0                      ; rooms, in the order of `rooms`
LAB     .equ 1
YARD    .equ 2
VILLAGE .equ 3
HOUSE   .equ 4
THANKS  .equ 5

FREE    .equ 0                      ; cells; from EXIT on they lead to an entry of `exits`
WALL    .equ 1
EXIT    .equ 2
QUIET   .equ 0x80                   ; free, but the person does not go there

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
    ld hl, #dma_code
    ld de, #dma
    ld bc, #dma_code_end - dma_code
    call copy
    ld hl, #objects
    ld de, #0x8000
    ld bc, #objects_end - objects
    call copy
    ld hl, #buffer
    ld bc, #0x0100
    ld d, #0
    call fill
    call set_palette                ; a is 0: everything white
    ldh (SCX), a
    ldh (SCY), a
    inc a
    ldh (IE), a
    xor a, a
    call load_room
    call place_cursor
    call draw
    call screen_on
    call fade_in

menu:
    call frame
    ld hl, #stage
    ld a, (edges)
    bit 3, a
    jr z, 1$
    ld a, (hl)
    cp a, #2
    jr z, 2$
    inc (hl)
    jr 2$
1$: bit 2, a
    jr z, 3$
    ld a, (hl)
    or a, a
    jr z, 2$
    dec (hl)
2$: call place_cursor
    call draw
    jr menu
3$: and a, #0x90                    ; A or START
    jr z, menu

    ldh a, (DIV)                    ; the person's pattern: any seed but 0
    ld (chance), a
    ld a, #0xA5
    ld (chance + 1), a
    ld a, (stage)
    add a, a
    add a, a
    ld c, a
    ld b, #0
    ld hl, #starts
    add hl, bc
    call enter

play:
    call frame
    call move_person
    call move_player
    call draw
    jr play

; The title's cursor is the player itself, beside the stage that is chosen.
place_cursor:
    ld hl, #player
    ld a, #1
    ld (hl+), a
    ld a, (stage)
    add a, #5
    ld (hl+), a
    ld (hl), #RIGHT
    ret

vblank:
    push af
    call dma
    ld a, #1
    ld (tick), a
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

; Waits for the next vertical blank and reads the buttons.
frame:
    halt
    nop
    ld hl, #tick
    ld a, (hl)
    or a, a
    jr z, frame
    ld (hl), #0
    ld a, #0x20                     ; directions
    ldh (P1), a
    ldh a, (P1)
    ldh a, (P1)
    cpl
    and a, #0x0F
    ld b, a
    ld a, #0x10                     ; buttons
    ldh (P1), a
    ldh a, (P1)
    ldh a, (P1)
    ldh a, (P1)
    ldh a, (P1)
    cpl
    and a, #0x0F
    swap a
    or a, b
    ld b, a
    ld a, #0x30
    ldh (P1), a
    ld hl, #keys
    ld a, (hl)
    ld (hl), b
    cpl
    and a, b
    ld (edges), a
    ret

; ---- rooms ----------------------------------------------------------------------------------

; Goes where the four bytes at hl say (room, x, y, direction): fades out, loads, fades in.
enter:
    push hl
    call fade_out
    pop hl
    ld a, (hl+)
    ld (room), a
    ld de, #player
    ld a, (hl+)
    ld (de), a
    inc de
    ld a, (hl+)
    ld (de), a
    inc de
    ld a, (hl+)
    ld (de), a
    inc de
    xor a, a
    ld (de), a
    ld (lock), a
    di
    call screen_off
    ld a, (room)
    call load_room
    call draw
    call screen_on
    call fade_in

    ld a, (stage)                   ; the goal of the stage holds still
    ld c, a
    ld b, #0
    ld hl, #goals
    add hl, bc
    ld a, (room)
    cp a, (hl)
    ret nz
    ld a, #HOLD_FRAMES
    ld (hold), a
    ret

; Room a into VRAM, its cells and its person into place. The screen is off.
load_room:
    swap a                          ; 16 bytes an entry
    ld c, a
    ld b, #0
    ld hl, #rooms
    add hl, bc
    ld a, (hl+)                     ; tiles
    ld e, a
    ld a, (hl+)
    ld d, a
    ld a, (hl+)                     ; their bytes
    ld c, a
    ld a, (hl+)
    ld b, a
    push hl
    ld h, d
    ld l, e
    ld de, #0x8800
    call copy
    pop hl
    ld a, (hl+)                     ; map, 18 rows of 20
    ld e, a
    ld a, (hl+)
    ld d, a
    push hl
    ld h, d
    ld l, e
    ld de, #0x9800
    ld b, #18
1$: ld c, #20
2$: ld a, (hl+)
    ld (de), a
    inc de
    dec c
    jr nz, 2$
    ld a, e
    add a, #12
    ld e, a
    jr nc, 3$
    inc d
3$: dec b
    jr nz, 1$
    pop hl
    ld a, (hl+)                     ; cells
    ld (cells), a
    ld a, (hl+)
    ld (cells + 1), a
    ld a, (hl+)                     ; person
    ld (kind), a
    ld de, #person
    ld b, #7
4$: ld a, (hl+)
    ld (de), a
    inc de
    dec b
    jr nz, 4$
    ld a, #40
    ld (timer), a
    ret

screen_on:
    call dma
    xor a, a
    ldh (IFLAG), a
    ld a, #0x83                     ; screen, tiles at 8800, map at 9800, 8x8 objects, background
    ldh (LCDC), a
    ei
    ret

fade_out:
    ld hl, #shades_out
    jr fade
fade_in:
    ld hl, #shades_in
fade:
    ld b, #3
1$: ld a, (hl+)
    ldh (BGP), a
    ld a, (hl+)
    ldh (OBP0), a
    ld a, (hl+)
    ldh (OBP1), a
    push bc
    push hl
    call frame
    call frame
    pop hl
    pop bc
    dec b
    jr nz, 1$
    ret

set_palette:
    xor a, a
    ldh (BGP), a
    ldh (OBP0), a
    ldh (OBP1), a
    ret

; Three steps each of background, player (shades 0,2,3) and person (shades 0,1,3).
shades_out:
    .db 0x90,0x90,0x80, 0x40,0x40,0x40, 0x00,0x00,0x00
shades_in:
    .db 0x40,0x40,0x40, 0x90,0x90,0x80, 0xE4,0xE0,0xD0

; ---- the grid -------------------------------------------------------------------------------

; a = the cell at x d, y e; beyond the screen there is wall. Keeps de.
cell:
    ld a, d
    cp a, #10
    jr nc, 1$
    ld a, e
    cp a, #9
    jr nc, 1$
    add a, a
    ld c, a
    add a, a
    add a, a
    add a, c                        ; 10 y
    add a, d
    ld c, a
    ld b, #0
    ld a, (cells)
    ld l, a
    ld a, (cells + 1)
    ld h, a
    add hl, bc
    ld a, (hl)
    ret
1$: ld a, #WALL
    ret

; d, e = the cell in front of the figure at hl. Keeps hl.
ahead:
    push hl
    ld a, (hl+)
    ld d, a
    ld a, (hl+)
    ld e, a
    ld a, (hl)
    pop hl
    cp a, #UP
    jr c, 1$
    jr z, 2$
    cp a, #LEFT
    jr z, 3$
    inc d
    ret
1$: inc e
    ret
2$: dec e
    ret
3$: dec d
    ret

; Zero flag set if the figure at hl stands at d, e.
stands_at:
    ld a, (hl+)
    cp a, d
    ret nz
    ld a, (hl)
    cp a, e
    ret

; ---- figures, drawing -----------------------------------------------------------------------

    .include "lab_figures.inc"
    .include "lab_draw.inc"

; ---- the world ------------------------------------------------------------------------------

; Per stage: where it starts (room, x, y, direction), and the room that is its goal.
starts:
    .db LAB,3,2,UP
    .db VILLAGE,2,7,LEFT
    .db HOUSE,7,4,UP
goals:
    .db YARD,HOUSE,THANKS

; Where an exit leads; the cells of a room name the entry.
exits:
    .db YARD,4,4,DOWN
    .db LAB,4,7,UP
    .db VILLAGE,1,6,RIGHT
    .db YARD,8,6,LEFT
    .db HOUSE,4,7,UP
    .db VILLAGE,2,3,DOWN
ending:
    .db THANKS,0,0,DOWN

; The parcel's table, as the first bytes of a figure.
parcel:
    .db 9,3,DOWN,0

; Per room: tiles, their bytes, map, cells; the person: kind, then a figure.
rooms:
    .dw tiles_title, tiles_title_end - tiles_title, map_title, cells_title
    .db 0, 0,0,0,0,0,0,0
    .dw tiles_lab, tiles_lab_end - tiles_lab, map_lab, cells_lab
    .db 1, 8,4,DOWN,0,0,SCHOLAR_TILE,0x10
    .dw tiles_out, tiles_out_end - tiles_out, map_yard, cells_yard
    .db 0, 0,0,0,0,0,0,0
    .dw tiles_out, tiles_out_end - tiles_out, map_village, cells_village
    .db 0, 0,0,0,0,0,0,0
    .dw tiles_house, tiles_house_end - tiles_house, map_house, cells_house
    .db 2, 7,3,DOWN,0,0,GRANNY_TILE,0x10
    .dw tiles_title, tiles_title_end - tiles_title, map_thanks, cells_title
    .db 0, 0,0,0,0,0,0,0

    .include "common.inc"
    .include "lab_art.inc"
