"""Paints the scene `static`: a village by a lake at dusk. Writes ../static_art.inc."""

import os
import sys
from paint import Canvas, map_bytes, noise, slice_map, text, tile_bytes, write_inc
import props

HERE = os.path.dirname(os.path.abspath(__file__))
SHORE, BOTTOM = 82, 120  # waterline; top of the text window


def sky(c):
    c.shade_rect(0, 0, 160, SHORE, lambda x, y: max(0, 2.0 - (y // 2 * 2) / 28))
    for k in range(20):  # stars, fewer towards the glow
        x, y = int(noise(k, 1) * 160) & ~1, int(noise(k, 2) ** 1.5 * 26) & ~1
        c.rect(x, y, 2, 2, 0)
    for x, y in ((22, 8), (94, 10), (148, 6)):  # bright ones
        c.rect(x - 2, y, 6, 2, 0)
        c.rect(x, y - 2, 2, 6, 0)
    c.ellipse(102, 20, 13, 13, 1)  # moon with its halo
    c.ellipse(102, 20, 11, 11, 0)
    for x, y, w, h in (
        (96, 16, 4, 4),
        (104, 22, 6, 4),
        (102, 12, 4, 2),
        (98, 24, 2, 2),
        (108, 16, 2, 2),
    ):
        c.rect(x, y, w, h, 1)
    props.cloud(c, 0, 8, 60, h=16)
    props.cloud(c, 112, 28, 46, h=10)
    props.cloud(c, 130, 2, 44, h=12, body=1, shade=2)


def mountains(c):
    props.peak(c, 110, SHORE, 40, 46, 10, 33)
    props.peak(c, 12, SHORE, 46, 46, 12, 11)
    props.peak(c, 52, SHORE, 56, 50, 18, 22)
    props.peak(c, 150, SHORE, 34, 40, 6, 44)
    for k in range(20):
        x = int(k * 8 + noise(k, 9) * 4)
        props.pine(
            c,
            x,
            SHORE - 6 - int(noise(k, 8) * 8) & ~1,
            20 + int(noise(k, 7) * 10) & ~1,
            dark=2,
            light=1,
        )


def windmill(c, x, base):
    """A white tower mill; its sails stand in a cross."""
    top = base - 36
    for y in range(top, base):
        half = 8 + (y - top) // 8
        for i in range(x - half, x + half):
            c.put(
                i,
                y,
                (
                    3
                    if i < x - half + 2 or i >= x + half - 2
                    else 0 if i < x else 1 if i < x + 4 else 2
                ),
            )
    for y in range(top + 12, base - 4, 8):
        c.rect(x - 6, y, 4, 2, 1)
        c.rect(x + 2, y + 4, 4, 2, 2)
    c.ellipse(
        x, top + 2, 9, 9, lambda i, j: -1 if j >= top + 2 else 3 if i > x - 4 or j < top - 5 else 2
    )
    c.rect(x - 4, top + 12, 6, 6, 3)
    c.rect(x - 2, top + 14, 2, 4, 0)
    c.rect(x - 4, base - 12, 8, 12, 3)
    c.rect(x - 2, base - 10, 4, 10, 2)
    hx, hy = x & ~1, top & ~1
    for dx, dy in ((1, 0), (0, 1), (-1, 0), (0, -1)):
        px, py = -dy, dx  # the cloth hangs on one side of the arm
        for k in range(6, 22, 2):
            for q in range(0, 8, 2):
                edge = q == 6 or k in (6, 20)
                c.rect(
                    hx + dx * k + px * q,
                    hy + dy * k + py * q,
                    2,
                    2,
                    3 if edge else 1 if k % 6 == 2 else 0,
                )
        for k in range(0, 24, 2):
            c.rect(hx + dx * k, hy + dy * k, 2, 2, 3)
    c.rect(hx - 2, hy - 2, 6, 6, 3)
    c.rect(hx, hy, 2, 2, 0)


def village(c):
    windmill(c, 140, SHORE - 4)
    props.tower(c, 68, SHORE - 4, 16, 32, 20)
    props.house(
        c,
        86,
        SHORE - 4,
        26,
        14,
        12,
        wall=1,
        shade=2,
        windows=((4, 4, 4, 6), (14, 4, 4, 6)),
        chimney=16,
    )
    props.house(
        c, 12, SHORE - 4, 34, 18, 14, windows=((4, 6, 6, 6), (24, 6, 4, 6)), door=14, chimney=4
    )
    props.house(
        c,
        46,
        SHORE - 4,
        24,
        16,
        16,
        wall=0,
        shade=1,
        tiles=2,
        windows=((4, 6, 4, 4), (14, 6, 4, 4)),
        brick=True,
    )
    props.house(c, 112, SHORE - 4, 18, 12, 10, wall=0, shade=1, windows=((8, 4, 4, 4),), chimney=12)
    props.tree(c, 6, SHORE - 2, 10, seed=3)
    props.tree(c, 78, SHORE - 2, 7, seed=4, trunk=2)
    props.tree(c, 156, SHORE - 2, 8, seed=6, trunk=3)
    props.bush(c, 110, SHORE - 2, 12, 8)
    for x in range(0, 160, 2):  # the bank
        c.rect(x, SHORE - 4, 2, 2, 0 if x % 8 < 4 else 1)
        c.rect(x, SHORE - 2, 2, 2, 2 if x % 8 < 6 else 3)


def lake(c):
    """The shore upside down, lighter and darker by turns of lines, broken by ripples."""
    dim, bright = (1, 1, 2, 2), (0, 1, 1, 2)
    for y in range(SHORE, BOTTOM, 2):
        row = (y - SHORE) // 2
        slip = (0, 2, 0, -2)[row % 4] * (1 if row < 10 else 2)
        for x in range(0, 160, 2):
            s = c.get(min(158, max(0, x + slip)), (SHORE - 6 - row * 3) & ~1)
            if (x // 2 + row * 5) % 16 < 4 and row % 3 == 2:
                s = 0 if row % 2 else 2
            else:
                s = (dim if row % 3 else bright)[s]
            c.rect(x, y, 2, 2, s)
    c.rect(0, SHORE, 160, 2, 3)
    for k in range(9):  # the moon's path
        y = SHORE + 4 + 4 * k
        w = (6, 10, 4, 14, 8, 12, 6, 10, 6)[k]
        c.rect((102 - w // 2 + (k % 3 - 1) * 4) & ~1, y, w, 2, 0)


ANGLER = (
    "...33333.....",
    "..3222223....",
    ".333333333...",
    "..3200003....",
    "..3203003....",
    "...300003....",
    "..33333333...",
    ".3111111113..",
    ".31111111003.",
    ".311111333003",
    ".3111111133..",
    ".33111111333.",
    "..322222222233",
    "..333333322233",
    ".......32233.",
    ".......32233.",
)
SAIL = (
    "..............3333..........",
    "..............332233........",
    "..............3333..........",
    ".............0330...........",
    ".............03300..........",
    "............003300..........",
    "............0033000.........",
    "...........000330000........",
    "...........0003300000.......",
    "..........00003300000.......",
    "..........000033000000......",
    ".........0000033000000......",
    ".........00000330000000.....",
    "........111111330000000.....",
    "........1111113311111111....",
    ".......00000003300000000....",
    ".......000000033000000000...",
    "......3333333333333333333...",
    "33............33..........33",
    "3333333333333333333333333333",
    ".33000000000000000000000033.",
    ".33222222222222222222222233.",
    "..332222222222222222222233..",
    "...3333333333333333333333...",
)


def foreground(c):
    c.stamp(SAIL, 84, 88)
    for k, (x, w) in enumerate(((86, 26), (90, 18), (82, 12))):
        c.rect(x, 112 + 2 * k, w, 2, (3, 1, 3, 0)[k])
    for k in range(5):  # jetty
        x = 4 + k * 14
        c.rect(x, 108, 6, 12, 3)
        c.rect(x + 2, 108, 2, 10, 1)
    c.rect(0, 102, 68, 8, 3)
    for k in range(9):
        c.rect(k * 8, 104, 6, 2, 0)
        c.rect(k * 8, 106, 6, 2, 1)
    c.stamp(ANGLER, 50, 92)
    c.line(62, 98, 76, 88, 3, 1)
    c.line(76, 88, 76, 112, 3, 1)
    c.rect(75, 112, 3, 2, 0)
    c.rect(20, 86, 2, 18, 3)  # lamp
    c.rect(22, 88, 2, 16, 1)
    c.rect(16, 80, 12, 8, 3)
    c.rect(18, 82, 8, 4, 0)
    c.rect(18, 78, 8, 2, 3)
    c.rect(32, 94, 10, 8, 2)  # barrel
    c.frame(32, 94, 10, 8, 3, 1)
    c.rect(34, 94, 2, 8, 0)
    c.rect(32, 97, 10, 2, 3)
    for k, (x, h) in enumerate(((130, 12), (138, 20), (146, 14), (152, 26), (158, 18))):
        c.rect(x, BOTTOM - h, 2, h, 3)  # reeds
        c.rect(x, BOTTOM - h - 4, 2, 2, 3)
        c.rect(x - 2, BOTTOM - h - 2, 4, 8, 3)
        c.rect(x - 2, BOTTOM - h, 2, 4, 1)
        for q in range(5):
            c.rect(x - 2 - q // 2 * 2, BOTTOM - q * 2 - 2, 2, 2, 3)


def paint():
    c = Canvas(160, 144)
    sky(c)
    mountains(c)
    village(c)
    lake(c)
    foreground(c)
    props.box(c, 0, BOTTOM, 160, 24)
    text(c, 'DUSK AT THE LAKE', 16, BOTTOM + 8, 3)
    return c


def main():
    c = paint()
    print('static')
    tiles, (rows,) = slice_map([c], 256)
    write_inc(
        os.path.join(HERE, '..', 'static_art.inc'),
        'A village by a lake at dusk: tiles and map.',
        [
            ('tiles', '%d tiles' % len(tiles), [b for t in tiles for b in tile_bytes(t)]),
            ('map', 'background map', map_bytes(rows)),
        ],
    )


if __name__ == '__main__':
    sys.exit(main())
