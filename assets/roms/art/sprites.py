"""Paints the scene `sprites`: a harbour and the actors on it. Writes ../sprites_art.inc.

An actor is a path, two bytes of place and one of shape for every second frame, and it starts over
when the path ends. Every path lasts a whole number of 24-frame steps, so the scene repeats after
the least common multiple of the periods: 48 steps.
"""

import math
import os
import sys
from paint import Canvas, db, dithered, map_bytes, noise, slice_map, tile_bytes, write_inc
import props
from figures import FIGURES

HERE = os.path.dirname(os.path.abspath(__file__))
SEA, QUAY = 56, 112
FRAMES_PER_ENTRY, STEP = 2, 24


def paint():
    c = Canvas(160, 144)
    c.shade_rect(0, 0, 160, SEA, lambda x, y: (1, 1, 0.75, 0.5, 0.25, 0, 0)[y // 8])
    c.ellipse(40, 16, 11, 11, 0)
    c.ellipse(40, 16, 9, 9, lambda i, j: 1 if (j // 2) % 4 == 3 else 0)
    for x, y, w, h in ((56, 4, 56, 12), (118, 14, 48, 12), (-10, 28, 44, 10)):
        props.cloud(c, x, y, w, h)
    props.peak(c, 120, SEA, 30, 44, 8, 5)
    props.peak(c, 78, SEA, 22, 30, 5, 6)
    props.ridge(
        c,
        SEA,
        16,
        9,
        26,
        lambda x, y, d: 3 if d < 2 else 2.0 if noise(x // 4, y // 4, 3) < 0.7 else 1,
    )
    coast(c)
    sea(c)
    lighthouse(c)
    quay(c)
    return c


def coast(c):
    """The far town, with a chimney that smokes."""
    for x, w, h, r in (
        (70, 10, 6, 4),
        (84, 12, 8, 6),
        (98, 14, 10, 6),
        (114, 10, 8, 8),
        (146, 12, 8, 6),
    ):
        c.rect(x, SEA - h, w, h, 0)
        c.rect(x + w - 4, SEA - h, 4, h, 1)
        c.poly([(x - 2, SEA - h), (x + w // 2, SEA - h - r), (x + w + 2, SEA - h)], 3)
        c.rect(x + 2, SEA - h + 2, 2, 4, 3)
        c.rect(x + 6, SEA - h + 2, 2, 4, 3)
    c.rect(126, SEA - 12, 20, 12, 1)  # works with a saw roof
    c.frame(126, SEA - 12, 20, 12, 3, 1)
    for k in range(3):
        c.poly([(126 + 7 * k, SEA - 12), (126 + 7 * k, SEA - 18), (133 + 7 * k, SEA - 12)], 3)
        c.rect(128 + 6 * k, SEA - 8, 4, 4, 3)
        c.rect(128 + 6 * k, SEA - 8, 2, 4, 0)
    c.rect(138, SEA - 26, 6, 18, 3)
    c.rect(140, SEA - 24, 2, 16, 1)
    c.rect(136, SEA - 26, 10, 2, 3)


def sea(c):
    """Tile-sized waves: fine and pale at the horizon, long and dark in front."""
    far = ("1111", "0011", "1111", "1100")
    mid = ("1111", "0111", "1121", "1111")
    near = ("1122", "2211", "0111", "1112")
    for y in range(SEA, QUAY, 2):
        d = (y - SEA) // 8
        rows = far if d < 2 else mid if d < 4 else near
        for x in range(0, 160, 2):
            c.rect(x, y, 2, 2, int(rows[(y // 2) % 4][(x // 2 + 2 * (y // 8 % 2)) % 4]))
    for k in range(26):  # longer crests
        y = (SEA + 10 + int(noise(k, 41) * 42)) & ~1
        x, w = int(noise(k, 42) * 20) * 8, 4 + 2 * int((y - SEA) / 14)
        c.rect(x, y, w, 2, 0)
        c.rect(x + 2, y + 2, w, 2, 2)
    c.rect(0, SEA, 160, 2, 2)


def lighthouse(c):
    for i in range(0, 44):  # headland
        for y in range(int(66 + (i / 9) ** 2 * 0.8), 92):
            c.put(
                i,
                y,
                dithered(
                    (
                        2.2 + 0.7 * (noise(i // 4, y // 4) - 0.3)
                        if y > 70 + (i / 9) ** 2 * 0.8
                        else 0.6
                    ),
                    i,
                    y,
                ),
            )
    for x in range(0, 46, 2):
        c.rect(x, 90 + (x // 2 % 3), 2, 2, 0)
    x = 12
    for y in range(24, 68):
        half = 6 + (y - 24) // 12
        band = (y // 8) % 2
        for i in range(x - half, x + half):
            s = (3 if band else 0) if i < x + half - 5 else (3 if band else 1)
            if band and i < x - half + 4:
                s = 2
            c.put(i, y, s)
        c.put(x - half - 1, y, 3)
        c.put(x + half, y, 3)
    c.rect(x - 8, 22, 16, 3, 3)
    c.rect(x - 5, 12, 10, 10, 0)
    c.rect(x - 6, 12, 2, 10, 3)
    c.rect(x + 4, 12, 2, 10, 3)
    c.rect(x - 1, 12, 2, 10, 1)
    c.poly([(x - 8, 12), (x, 3), (x + 8, 12)], 3)
    c.rect(x - 2, 58, 4, 9, 3)
    c.rect(x - 2, 40, 4, 4, 0)
    props.house(c, 22, 70, 16, 8, 6, wall=0, windows=((3, 2, 3, 3), (10, 2, 3, 3)))


def quay(c):
    c.rect(0, QUAY, 160, 32, 1)
    c.rect(0, QUAY - 2, 160, 4, 3)
    c.rect(0, QUAY, 160, 2, 0)
    for y in range(QUAY + 2, 128, 4):  # planks seen from above
        c.rect(0, y, 160, 1, 2)
    for x in range(0, 160, 16):
        c.rect(x, QUAY + 2, 1, 14, 2)
    for y in range(128, 144, 8):  # stone face
        for x in range(0, 160, 16):
            o = 8 if y % 16 else 0
            c.rect(x + o, y, 16, 8, 2)
            c.rect(x + o, y, 16, 2, 1)
            c.rect(x + o, y + 6, 16, 2, 3)
            c.rect(x + o + 14, y, 2, 8, 3)
        if y % 16:
            c.rect(0, y, 8, 8, 2)
            c.rect(0, y, 8, 2, 1)
            c.rect(0, y + 6, 8, 2, 3)
    c.rect(0, 128, 160, 2, 3)
    for x in (4, 76, 148):  # bollards
        c.rect(x, QUAY - 10, 8, 10, 3)
        c.rect(x - 2, QUAY - 10, 12, 4, 3)
        c.rect(x, QUAY - 10, 8, 2, 1)
        c.rect(x + 2, QUAY - 6, 2, 6, 2)
    x, base = 128, QUAY + 8  # crates and barrels
    for dx, dy in ((0, 0), (16, 0), (8, 14)):
        c.rect(x + dx, base - 14 - dy, 14, 14, 1)
        c.frame(x + dx, base - 14 - dy, 14, 14, 3, 2)
        c.line(x + dx + 2, base - 12 - dy, x + dx + 10, base - 4 - dy, 3, 2)
    for x in (108, 118):
        c.rect(x, base - 14, 10, 14, 2)
        c.rect(x + 2, base - 14, 2, 14, 0)
        c.frame(x, base - 14, 10, 14, 3, 1)
        c.rect(x, base - 11, 10, 2, 3)
        c.rect(x, base - 5, 10, 2, 3)
    c.rect(56, 84, 2, 34, 3)  # lamp
    c.rect(58, 84, 2, 34, 2)
    c.rect(52, 76, 12, 10, 3)
    c.rect(54, 78, 8, 6, 0)
    c.rect(56, 74, 4, 2, 3)


def steps(n):
    """Path entries of n steps."""
    return n * STEP // FRAMES_PER_ENTRY


def there_and_back(name, n, left, right, y, stride, frames):
    """Walks right in the first half and left in the second; the legs follow the ground covered."""
    path, half = [], steps(n) // 2
    for k in range(2 * half):
        f = k / half
        x = left + (right - left) * (f if f < 1 else 2 - f)
        path.append((x, y, '%s_%s%d' % (name, 'r' if f < 1 else 'l', int(x / stride) % frames)))
    return path


def across(name, n, speed_sign, y, bob, frames, stride):
    """Crosses the screen and the unseen strip beside it: 256 pixels in all."""
    path = []
    for k in range(steps(n)):
        d = 256 * k / steps(n)
        x = d - 64 if speed_sign > 0 else 192 - d
        path.append(
            (
                x,
                y + bob * math.sin(2 * math.pi * 4 * k / steps(n)),
                '%s%d' % (name, int(d / stride) % frames),
            )
        )
    return path


def loop(name, n, cx, cy, rx, ry, phase, frames, flaps):
    """A figure of eight; the wings beat `flaps` times in a period."""
    path = []
    for k in range(steps(n)):
        a = 2 * math.pi * (k / steps(n) + phase)
        path.append(
            (
                cx + rx * math.cos(a),
                cy + ry * math.sin(a * 2),
                '%s%d' % (name, int(k * flaps * frames / steps(n)) % frames),
            )
        )
    return path


def rise(name, n, x, y, drift, height, phase, sizes):
    path = []
    for k in range(steps(n)):
        f = (k / steps(n) + phase) % 1
        path.append(
            (
                x + drift * f + 2 * math.sin(9 * f),
                y - height * f,
                '%s%d' % (name, min(sizes - 1, int(f * sizes))),
            )
        )
    return path


def leap(name, n, x0, x1, y, height, share):
    path = []
    for k in range(steps(n)):
        f = k / steps(n)
        if f < share:
            g = f / share
            path.append(
                (
                    x0 + (x1 - x0) * g,
                    y - height * 4 * g * (1 - g),
                    '%s%d' % (name, 0 if g < 0.5 else 1),
                )
            )
        else:
            path.append((0, 200, '%s0' % name))
    return path


def actors():
    return [
        there_and_back('walker', 24, 6, 90, 92, 6, 4),
        there_and_back('dog', 16, 36, 132, 112, 6, 2),
        across('boat', 48, -1, 66, 1.5, 1, 8),
        across('balloon', 48, 1, 4, 2, 1, 8),
        loop('gull', 16, 96, 66, 40, 10, 0.25, 2, 24),
        loop('gull', 24, 80, 24, 44, 12, 0.4, 2, 36),
        rise('puff', 12, 136, 24, 10, 24, 0, 3),
        rise('puff', 12, 136, 24, 10, 24, 1 / 3, 3),
        rise('puff', 12, 136, 24, 10, 24, 2 / 3, 3),
        leap('fish', 8, 56, 88, 102, 26, 0.75),
    ]


def check_lines(cast, shapes):
    """No line may hold more than ten objects at any time: the eleventh would not be shown."""
    worst, period = 0, math.lcm(*(len(p) for p in cast))
    for t in range(period):
        lines = [0] * 256
        for p in cast:
            x, y, s = p[t % len(p)]
            for dy, _, _, _ in shapes[s]:
                for j in range(16):
                    lines[(even(y) + dy + j) % 256] += 1
        worst = max(worst, max(lines[:144]))
    print(
        '  at most %d objects in a line, period %d steps'
        % (worst, period * FRAMES_PER_ENTRY // STEP)
    )
    if worst > 10:
        raise SystemExit('more than ten objects in a line')


def even(v):
    """Places are even: the observation (every second pixel) samples a figure always alike."""
    return 2 * round(v / 2)


def object_tiles():
    """Cuts the figures into 8x16 objects: tile pairs and, per figure, (dy, dx, tile, attribute)."""
    pairs, shapes = [], {}
    for name, rows in FIGURES.items():
        w = max(len(r) for r in rows)
        rows = [r.ljust(w, '.') for r in rows]
        flat = ''.join(rows)
        mid = '1' if flat.count('1') > flat.count('2') else '2'
        if '1' in flat and '2' in flat:
            raise SystemExit('figure %s: an object has three shades; 1 and 2 are both used' % name)
        colour = {'.': 0, '0': 1, mid: 2, '3': 3}
        parts = []
        for oy in range(0, len(rows), 16):
            for ox in range(0, w, 8):
                cell = tuple(
                    tuple(
                        colour[rows[oy + j][ox + i]] if oy + j < len(rows) and ox + i < w else 0
                        for i in range(8)
                    )
                    for j in range(16)
                )
                if not any(map(any, cell)):
                    continue
                attr = 0x10 if mid == '1' else 0
                mirror = tuple(tuple(reversed(r)) for r in cell)
                if cell not in pairs and mirror in pairs:
                    cell, attr = mirror, attr | 0x20
                if cell not in pairs:
                    pairs.append(cell)
                parts.append((oy, ox, 2 * pairs.index(cell), attr))
        shapes[name] = parts
    if len(pairs) > 64:
        raise SystemExit('%d object tile pairs; 64 fit' % len(pairs))
    print('  objects: %d tile pairs, %d shapes' % (len(pairs), len(shapes)))
    return pairs, shapes


def main():
    print('sprites')
    tiles, (rows,) = slice_map([paint()], 256)
    pairs, shapes = object_tiles()
    cast = actors()
    names = list(shapes)
    most = sum(max(len(shapes[s]) for _, _, s in path) for path in cast)
    print(
        '  actors: %d, at most %d objects, %d path bytes'
        % (len(cast), most, 3 * sum(map(len, cast)))
    )
    if most > 40:
        raise SystemExit('more than 40 objects')
    check_lines(cast, shapes)
    parts = [
        (
            'tiles',
            '%d background tiles for 8800' % len(tiles),
            [b for t in tiles for b in tile_bytes(t)],
        ),
        ('map', 'background map', [(b + 128) & 255 for b in map_bytes(rows)]),
        (
            'objects',
            '%d pairs of object tiles for 8000' % len(pairs),
            [b for p in pairs for b in tile_bytes(p[:8]) + tile_bytes(p[8:])],
        ),
    ]
    table = ''
    for n in names:
        table += 'shape_%s:\n    .db %d\n%s' % (
            n,
            len(shapes[n]),
            ''.join('    .db %d,%d,0x%02X,0x%02X\n' % p for p in shapes[n]),
        )
    path = os.path.join(HERE, '..', 'sprites_art.inc')
    write_inc(path, 'A harbour: tiles, map, object tiles, shapes and paths.', parts)
    with open(path, 'a', newline='\n') as f:
        f.write('\n; Shapes: number of objects, then dy, dx, tile, attribute of each.\n' + table)
        f.write('\nshapes:\n' + ''.join('    .dw shape_%s\n' % n for n in names))
        f.write(
            '\nACTORS .equ %d\n\n; Paths: OAM y, OAM x, shape number; one entry every second frame.\npaths:\n'
            % len(cast)
        )
        f.write(''.join('    .dw path_%d, path_%d_end\n' % (k, k) for k in range(len(cast))))
        for k, p in enumerate(cast):
            flat = [
                v
                for x, y, s in p
                for v in ((even(y) + 16) & 255, (even(x) + 8) & 255, names.index(s))
            ]
            f.write('path_%d:\n%spath_%d_end:\n' % (k, db(flat, 24), k))


if __name__ == '__main__':
    sys.exit(main())
