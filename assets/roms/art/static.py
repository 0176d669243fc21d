"""Paints the scene `static`: a village by a lake at dusk. Writes ../static_art.inc."""
import os
import sys
from paint import Canvas, dithered, map_bytes, noise, slice_map, smooth_noise, text, tile_bytes, write_inc
import props

HERE = os.path.dirname(os.path.abspath(__file__))
SHORE, BOTTOM = 80, 120        # waterline; top of the text window


def sky(c):
    c.shade_rect(0, 0, 160, SHORE, lambda x, y: max(0, 2.1 - (y // 2 * 2) / 26))
    for k in range(26):                               # stars, fewer towards the glow
        x, y = int(noise(k, 1) * 160) & ~1, int(noise(k, 2) ** 1.5 * 34) & ~1
        c.rect(x, y, 2, 2, 0)
    for x, y in ((22, 10), (92, 6), (138, 22)):       # bright ones
        c.rect(x - 2, y, 6, 2, 0)
        c.rect(x, y - 2, 2, 6, 0)
    c.ellipse(124, 24, 12, 12, 1)                     # moon with its halo
    c.ellipse(124, 24, 10, 10, 0)
    c.rect(118, 20, 4, 4, 1)
    c.rect(126, 26, 6, 4, 1)
    c.rect(124, 16, 2, 2, 1)
    props.cloud(c, 8, 18, 46, top=1, bottom=2, h=12)
    props.cloud(c, 62, 28, 38, top=0, bottom=1, h=8)
    props.cloud(c, 128, 34, 44, top=0, bottom=1, h=10)
    for x, y, w in ((0, 38, 28), (40, 42, 30), (100, 46, 22)):
        c.rect(x, y, w, 2, 1)
        c.rect(x + 6, y + 2, w - 4, 2, 0)


def mountains(c):
    props.peak(c, 14, SHORE, 44, 44, 12, 11)
    props.peak(c, 104, SHORE, 40, 46, 12, 33)
    props.peak(c, 58, SHORE, 54, 52, 18, 22)
    props.peak(c, 150, SHORE, 36, 40, 8, 44)
    props.ridge(c, SHORE, 26, 7, 22, lambda x, y, d: 3 if d < 2 else 2.4 if (x // 2 + y // 2 * 3) % 7 else 1.4)
    for k in range(30):
        x = int(k * 5.6 + noise(k, 9) * 4)
        props.pine(c, x, SHORE - 4 - int(noise(k, 8) * 6), 12 + int(noise(k, 7) * 8))


def windmill(c, x, base):
    c.poly([(x - 8, base), (x - 5, base - 26), (x + 5, base - 26), (x + 8, base)], lambda i, j: 0 if i < x - 1 else 1 if i < x + 3 else 2)
    c.line(x - 9, base, x - 6, base - 26, 3)
    c.line(x + 8, base, x + 5, base - 26, 3)
    c.poly([(x - 8, base - 25), (x, base - 34), (x + 8, base - 25)], 3)
    c.rect(x - 2, base - 20, 4, 4, 3)
    c.rect(x - 2, base - 10, 5, 10, 3)
    for dx, dy in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        cx, cy = x, base - 27
        c.line(cx, cy, cx + dx * 15, cy + dy * 15, 3, 2)
        for k in range(5, 15, 3):
            c.line(cx + dx * k, cy + dy * k, cx + dx * k - dy * dx * dx * 5 * (1 if dx * dy > 0 else -1), cy + dy * k - dx * dx * 0, 3)
        c.poly([(cx + dx * 4, cy + dy * 4), (cx + dx * 15, cy + dy * 15), (cx + dx * 15 - dx * 5, cy + dy * 15 + 0),
                (cx + dx * 4 - dx * 4, cy + dy * 4)], lambda i, j: 0 if (i + j) // 2 % 2 else 2)
    c.rect(x - 1, base - 28, 3, 3, 0)


def village(c):
    c.shade_rect(0, SHORE - 6, 160, 6, lambda x, y: 1.0 if (x // 4 + y // 2) % 5 else 2)
    windmill(c, 145, SHORE - 8)
    props.tower(c, 66, SHORE - 4, 16, 30, 20)
    props.house(c, 80, SHORE - 4, 30, 14, 10, windows=((6, 4, 4, 6), (16, 4, 4, 6)), chimney=18)
    props.house(c, 10, SHORE - 2, 34, 18, 12, windows=((4, 6, 6, 6), (24, 6, 4, 6)), door=14, chimney=4)
    props.house(c, 44, SHORE - 2, 24, 16, 14, wall=0, shade=1, tiles=2, windows=((4, 6, 4, 4), (14, 6, 4, 4)), brick=True)
    props.house(c, 108, SHORE - 2, 26, 16, 12, wall=0, shade=1, windows=((14, 6, 6, 6),), door=3, chimney=16)
    props.tree(c, 4, SHORE - 2, 8, seed=3)
    props.tree(c, 76, SHORE - 1, 5, seed=4, trunk=3)
    props.bush(c, 101, SHORE, 12, 8)
    props.bush(c, 138, SHORE, 10, 6)
    props.fence(c, 80, SHORE, 2, 8)
    c.rect(0, SHORE - 2, 160, 2, 3)


def lake(c):
    for y in range(SHORE, BOTTOM):
        d = y - SHORE
        for x in range(160):
            row = d // 2
            slip = int((smooth_noise(row / 1.3, 77) - .5) * (2 + d / 4)) * 2
            s = c.get(min(159, max(0, x + slip)), SHORE - 1 - int(d * 1.35))
            v = .55 + s * .62
            if (row + int(noise(row, 3) * 3)) % 3 == 0:  # ripples
                v += .5 if noise(row, x // 8, 5) < .5 else -.4
            c.put(x, y, dithered(max(0, min(3, v)), x, y))
    c.rect(0, SHORE, 160, 2, 3)
    for k in range(22):                               # glints of the moon
        y = SHORE + 4 + int(noise(k, 51) * 34) & ~1
        w = 2 + int(noise(k, 52) * 5) * 2
        c.rect(int(124 + (noise(k, 53) - .5) * (6 + (y - SHORE) * .6) - w / 2) & ~1, y, w, 2, 0)


BOAT = (
    "......................33................",
    "......................33................",
    "......................330...............",
    "......................3300..............",
    "......................33000.............",
    "......................330000............",
    "......................3300110...........",
    "......................33001110..........",
    "......................330111110.........",
    "......................3301111110........",
    "......................33.........33.....",
    "..33..........3333....33........333.....",
    "..3333333333333333333333333333333333....",
    "...300000000000000000000000000000033....",
    "....31111111111111111111111111111333....",
    ".....32222222222222222222222222233......",
    "......333333333333333333333333333.......",
)


def foreground(c):
    c.stamp(BOAT, 78, 92)
    for k in range(9):
        c.rect(80 + k * 4, 110 + (k % 3) * 2, 4, 2, 3 if k % 2 else 0)
    for k in range(6):                                # jetty
        x = 8 + k * 10
        c.rect(x, 104, 4, 16, 3)
        c.rect(x, 104, 2, 14, 2)
    c.rect(0, 100, 66, 6, 3)
    for k in range(8):
        c.rect(k * 8 + 1, 101, 7, 2, 0)
        c.rect(k * 8 + 1, 103, 7, 2, 1)
    c.rect(58, 92, 4, 8, 3)                           # lamp
    c.rect(56, 88, 8, 6, 3)
    c.rect(58, 90, 4, 2, 0)
    for k in range(14):                               # reeds
        x = 126 + k * 2 + (k % 3) * 2
        h = 10 + int(noise(k, 61) * 16)
        c.line(x, BOTTOM, x + int(noise(k, 62) * 6 - 3), BOTTOM - h, 3 if k % 3 else 2, 2)
        if k % 3 == 0:
            c.rect(x + int(noise(k, 62) * 6 - 3), BOTTOM - h, 3, 6, 3)


def paint():
    c = Canvas(160, 144)
    sky(c)
    mountains(c)
    village(c)
    lake(c)
    foreground(c)
    props.box(c, 0, BOTTOM, 160, 24)
    text(c, 'EVENING AT THE LAKE', 5 & ~1, BOTTOM + 8, 3)
    return c


def main():
    c = paint()
    print('static')
    tiles, (rows,) = slice_map([c], 256)
    write_inc(os.path.join(HERE, '..', 'static_art.inc'), 'A village by a lake at dusk: tiles and map.',
              [('tiles', '%d tiles' % len(tiles), [b for t in tiles for b in tile_bytes(t)]),
               ('map', 'background map', map_bytes(rows))])


if __name__ == '__main__':
    sys.exit(main())
