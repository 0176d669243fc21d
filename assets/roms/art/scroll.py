"""Paints the scene `scroll`: a valley 256 pixels wide and a status bar. Writes ../scroll_art.inc."""

import os
import sys
from paint import Canvas, map_bytes, noise, slice_map, text, tile_bytes, write_inc
import props

HERE = os.path.dirname(os.path.abspath(__file__))
W, H, GROUND = 256, 128, 104


def sky(c):
    c.shade_rect(
        0, 0, W, GROUND, lambda x, y: (1, 1, 1, 0.75, 0.5, 0.25, 0.25)[y // 8] if y < 56 else 0
    )
    for x, y, w, h in ((0, 6, 56, 18), (80, 20, 48, 12), (120, 4, 64, 14), (208, 12, 56, 16)):
        props.cloud(c, x, y, w, h)


def mountains(c):
    for x, h, half, snow, seed in (
        (108, 42, 40, 10, 33),
        (236, 46, 48, 12, 44),
        (44, 60, 58, 20, 11),
        (176, 64, 60, 20, 22),
    ):
        props.peak(c, x, GROUND - 8, h, half, snow, seed)
    for k in range(W // 16):
        if k not in (6, 7):  # the well stands there
            props.pine(c, 16 * k + 8, GROUND, 24 if k % 3 else 32, dark=3, light=2)


def castle(c, x, base):
    for dx, w, h in ((0, 16, 56), (48, 16, 56), (20, 24, 44)):
        c.rect(x + dx, base - h, w, h, 1)
        c.rect(x + dx + w - 6, base - h, 6, h, 2)
        for j in range(base - h + 4, base - 2, 8):
            for i in range(x + dx + (j // 8 % 2) * 4, x + dx + w - 4, 8):
                c.rect(i, j, 4, 2, 2)
        c.frame(x + dx, base - h, w, h, 3, 1)
        for i in range(0, w, 6):
            c.rect(x + dx + i - 1, base - h - 4, 4, 6, 3)
        c.rect(x + dx + w // 2 - 2, base - h + 12, 4, 8, 3)
        c.rect(x + dx + w // 2 - 1, base - h + 14, 2, 6, 0)
    c.rect(x + 16, base - 28, 32, 28, 1)
    c.frame(x + 16, base - 28, 32, 28, 3, 1)
    c.ellipse(x + 32, base - 12, 9, 10, 3)
    c.rect(x + 23, base - 12, 18, 12, 3)
    for i in range(26, 40, 4):
        c.rect(x + i, base - 18, 2, 18, 1)
    for dx in (8, 56):
        c.rect(x + dx - 1, base - 76, 2, 18, 3)
        c.poly([(x + dx + 1, base - 76), (x + dx + 13, base - 72), (x + dx + 1, base - 67)], 2)


def ground(c):
    for x in range(0, W, 8):  # cobbles in three sizes
        for y in range(GROUND, H, 8):
            kind = (x // 8 * 3 + y // 8 * 5) % 7
            c.rect(x, y, 8, 8, 3)
            if kind in (0, 3, 5):
                c.rect(x, y, 6, 6, 2)
                c.rect(x, y, 6, 2, 1)
                c.rect(x, y, 2, 4, 1)
            elif kind in (1, 4):
                for i, j in ((0, 0), (4, 4)):
                    c.rect(x + i, y + j, 4, 2, 1)
                    c.rect(x + 4 - i, y + j, 2, 2, 2)
            else:
                c.rect(x, y, 2, 6, 1)
                c.rect(x + 4, y, 2, 4, 2)
                c.rect(x + 4, y, 2, 2, 0 if kind == 6 else 1)
    for x in range(0, W, 8):  # grass
        c.rect(x, GROUND - 2, 8, 8, 3)
        c.rect(x, GROUND - 2, 8, 4, 0 if x % 16 else 1)
        c.rect(x + 2, GROUND + 2, 2, 4, 1)
        c.rect(x + 6, GROUND + 2, 2, 2, 1)


def flower(c, x, shade):
    c.rect(x + 2, GROUND - 8, 2, 6, 3)
    c.rect(x, GROUND - 10, 6, 4, 3)
    c.rect(x + 2, GROUND - 12, 2, 8, 3)
    c.rect(x + 2, GROUND - 10, 2, 2, shade)


def mushroom(c, x):
    c.rect(x, GROUND - 8, 12, 4, 3)
    c.rect(x + 2, GROUND - 10, 8, 4, 3)
    c.rect(x + 2, GROUND - 8, 2, 2, 0)
    c.rect(x + 6, GROUND - 10, 2, 2, 0)
    c.rect(x + 4, GROUND - 4, 4, 2, 0)


def sign(c, x):
    c.rect(x + 6, GROUND - 12, 4, 10, 3)
    c.rect(x, GROUND - 20, 16, 10, 3)
    c.rect(x + 2, GROUND - 18, 12, 6, 0)
    c.rect(x + 4, GROUND - 16, 6, 2, 3)
    c.rect(x + 8, GROUND - 18, 2, 6, 3)


def well(c, x):
    c.rect(x, GROUND - 14, 20, 12, 3)
    for j in range(3):
        for i in range(3):
            c.rect(
                x + 2 + i * 6 - (j % 2) * 2 + (2 if j % 2 and i == 0 else 0),
                GROUND - 14 + j * 4,
                4,
                2,
                1 if i < 2 else 2,
            )
    c.rect(x + 2, GROUND - 28, 2, 14, 3)
    c.rect(x + 16, GROUND - 28, 2, 14, 3)
    c.poly(
        [(x - 4, GROUND - 26), (x + 6, GROUND - 36), (x + 14, GROUND - 36), (x + 24, GROUND - 26)],
        3,
    )
    c.rect(x + 2, GROUND - 30, 8, 2, 1)
    c.rect(x + 8, GROUND - 34, 4, 2, 1)
    c.rect(x + 9, GROUND - 26, 2, 8, 3)
    c.rect(x + 8, GROUND - 20, 4, 4, 2)


def river(c, x, w):
    for y in range(GROUND - 2, H):
        for i in range(x, x + w):
            p = ((i - x) // 2 + (y // 2) * 3) % 8
            c.put(i, y, 0 if p < 2 else 1 if p < 6 else 2)
    for side in (x - 2, x + w):
        c.rect(side, GROUND, 2, H - GROUND, 3)
    c.rect(x - 10, GROUND - 6, w + 20, 4, 1)  # bridge
    c.rect(x - 10, GROUND - 2, w + 20, 2, 3)
    for i in range(x - 8, x + w + 10, 8):
        c.rect(i, GROUND - 18, 2, 16, 3)
        c.rect(i + 2, GROUND - 6, 2, 4, 3)
    c.rect(x - 10, GROUND - 18, w + 20, 2, 3)
    c.rect(x - 10, GROUND - 12, w + 20, 2, 3)


def fall(c, x):
    """A cliff with a waterfall, wider at its foot."""
    for y in range(40, GROUND, 2):
        slope = (y - 40) // 10 * 2
        left = x - slope + (2 if noise(y // 6, 3) < 0.5 else 0)
        right = x + 40 + slope - (2 if noise(y // 6, 4) < 0.5 else 0)
        for i in range(left, right, 2):
            s = 1 if i < x + 10 and noise(i // 6, y // 8, 8) < 0.5 else 2
            if noise(i // 4, y // 4, 9) < 0.16 or (y // 2) % 8 == (i // 8 * 3) % 8:
                s += 1
            c.rect(i, y, 2, 2, 3 if i in (left, right - 2) else s)
        for i in range(x + 12, x + 28, 2):
            p = (y // 2 * 3 + (i // 2) * 5) % 8
            c.rect(i, y, 2, 2, 1 if p < 2 else 2 if p == 4 else 0)
        c.rect(x + 10, y, 2, 2, 3)
        c.rect(x + 28, y, 2, 2, 3)
    for i in range(-2, 42, 4):  # turf on the edge
        if not 10 <= i < 28:
            c.rect(x + i, 38, 4, 4, 3)
            c.rect(x + i, 36, 2, 2, 3)
            c.rect(x + i, 38, 4, 2, 1)
    c.ellipse(x + 20, GROUND - 2, 14, 5, 0)


def village(c):
    fall(c, 208)
    castle(c, 136, GROUND - 2)
    props.house(
        c,
        8,
        GROUND - 2,
        40,
        24,
        16,
        wall=0,
        shade=1,
        windows=((6, 8, 6, 8), (26, 8, 6, 8)),
        door=16,
        chimney=6,
    )
    props.house(
        c, 72, GROUND - 2, 32, 20, 20, windows=((4, 8, 6, 6), (20, 8, 6, 6)), chimney=20, brick=True
    )
    well(c, 110)
    props.tree(c, 60, GROUND - 2, 12, seed=1)
    props.tree(c, 254, GROUND - 2, 12, seed=5)
    props.bush(c, 204, GROUND - 1, 14, 10)
    ground(c)
    sign(c, 188)
    for x, s in ((0, 0), (8, 0), (40, 0), (136, 0), (244, 0)):
        flower(c, x, s)
    mushroom(c, 68)
    mushroom(c, 140)
    river(c, 216, 24)


def status_bar():
    c = Canvas(160, 16, 3)
    c.rect(0, 0, 160, 2, 1)
    text(c, 'VALLEY', 4, 4, 0)
    text(c, '004200', 64, 4, 0)
    for k in range(4):
        x = 120 + 8 * k + (k // 3) * 0
        s = 0 if k < 3 else 2
        for dx, dy, w, h in ((0, 0, 2, 4), (4, 0, 2, 4), (0, 2, 6, 4), (2, 6, 2, 2)):
            c.rect(x + dx, 4 + dy, w, h, s)
    return c


def paint():
    c = Canvas(W, H, wrap=True)
    sky(c)
    mountains(c)
    village(c)
    return c


def main():
    c = paint()
    bar = status_bar()
    print('scroll')
    tiles, (rows, bar_rows) = slice_map([c, bar], 256)
    write_inc(
        os.path.join(HERE, '..', 'scroll_art.inc'),
        'A valley and a status bar: tiles and maps.',
        [
            ('tiles', '%d tiles' % len(tiles), [b for t in tiles for b in tile_bytes(t)]),
            ('map', 'background map', map_bytes(rows)),
            ('bar', 'window map, two rows', map_bytes(bar_rows, height=2)),
        ],
    )


if __name__ == '__main__':
    sys.exit(main())
