"""Canvas of four shades, 2-pixel dither, and the slicing of a picture into Game Boy tiles.

Developer side only: `make roms` needs the committed .inc files, not this. Shades: 0 lightest ..
3 darkest, -1 transparent. All detail that must survive the observation (every second pixel) is
drawn on even coordinates, two pixels wide.
"""

import struct
import zlib

BAYER = ((0, 8, 2, 10), (12, 4, 14, 6), (3, 11, 1, 9), (15, 7, 13, 5))  # in cells of 2x2 pixels


def noise(*key):
    """A number in 0..1 that depends on the key only."""
    return zlib.crc32(struct.pack('<%di' % len(key), *key)) / 4294967295.0


def smooth_noise(x, seed, period=0):
    """Value noise over x; with a period it wraps after that many lattice cells."""
    i = int(x // 1)
    f = x - i
    f = f * f * (3 - 2 * f)
    a, b = (i % period, (i + 1) % period) if period else (i, i + 1)
    return noise(seed, a) * (1 - f) + noise(seed, b) * f


def dithered(value, x, y):
    """Shade for a real value 0..3 at a pixel, by the ordered pattern of 2x2 cells."""
    low = int(value)
    return min(3, low + (1 if value - low > (BAYER[(y // 2) % 4][(x // 2) % 4] + 0.5) / 16 else 0))


class Canvas:
    def __init__(self, width, height, shade=0, wrap=False):
        self.w, self.h, self.wrap = width, height, wrap
        self.px = [[shade] * width for _ in range(height)]

    def get(self, x, y):
        x = x % self.w if self.wrap else x
        return self.px[y][x] if 0 <= x < self.w and 0 <= y < self.h else -1

    def put(self, x, y, shade):
        if self.wrap:
            x %= self.w
        if shade >= 0 and 0 <= x < self.w and 0 <= y < self.h:
            self.px[y][x] = shade

    def rect(self, x, y, w, h, shade):
        for j in range(y, y + h):
            for i in range(x, x + w):
                self.put(i, j, shade)

    def frame(self, x, y, w, h, shade, t=1):
        self.rect(x, y, w, t, shade)
        self.rect(x, y + h - t, w, t, shade)
        self.rect(x, y, t, h, shade)
        self.rect(x + w - t, y, t, h, shade)

    def shade_rect(self, x, y, w, h, value):
        """value: a real shade or a function of (x, y); dithered."""
        for j in range(y, y + h):
            for i in range(x, x + w):
                self.put(i, j, dithered(value(i, j) if callable(value) else value, i, j))

    def ellipse(self, cx, cy, rx, ry, value):
        for j in range(int(cy - ry), int(cy + ry) + 1):
            for i in range(int(cx - rx), int(cx + rx) + 1):
                if ((i + 0.5 - cx) / rx) ** 2 + ((j + 0.5 - cy) / ry) ** 2 <= 1:
                    v = value(i, j) if callable(value) else value
                    self.put(i, j, dithered(v, i, j) if v >= 0 else -1)

    def poly(self, points, value):
        ys = [p[1] for p in points]
        for j in range(int(min(ys)), int(max(ys)) + 1):
            cut = []
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1]):
                if (y0 <= j + 0.5) != (y1 <= j + 0.5):
                    cut.append(x0 + (j + 0.5 - y0) * (x1 - x0) / (y1 - y0))
            cut.sort()
            for a, b in zip(cut[::2], cut[1::2]):
                for i in range(round(a), round(b)):
                    v = value(i, j) if callable(value) else value
                    self.put(i, j, dithered(v, i, j))

    def line(self, x0, y0, x1, y1, shade, t=1):
        n = max(abs(x1 - x0), abs(y1 - y0), 1)
        for k in range(n + 1):
            self.rect(round(x0 + (x1 - x0) * k / n), round(y0 + (y1 - y0) * k / n), t, t, shade)

    def stamp(self, rows, x, y, flip=False, scale=1, remap=None):
        """Picture in text: '0'..'3' shades, anything else transparent."""
        for j, row in enumerate(rows):
            for i, c in enumerate(reversed(row) if flip else row):
                if c in '0123':
                    s = int(c) if remap is None else remap[int(c)]
                    self.rect(x + i * scale, y + j * scale, scale, scale, s)


# fmt: off
GLYPHS = {  # 3x5 dots, one text per glyph, rows from the top
    'A': '010101111101101', 'B': '110101110101110', 'C': '011100100100011', 'D': '110101101101110',
    'E': '111100110100111', 'F': '111100110100100', 'G': '011100101101011', 'H': '101101111101101',
    'I': '111010010010111', 'J': '001001001101010', 'K': '101101110101101', 'L': '100100100100111',
    'M': '101111111101101', 'N': '110101101101101', 'O': '010101101101010', 'P': '110101110100100',
    'Q': '010101101111011', 'R': '110101110101101', 'S': '011100010001110', 'T': '111010010010010',
    'U': '101101101101111', 'V': '101101101101010', 'W': '101101111111101', 'X': '101101010101101',
    'Y': '101101010010010', 'Z': '111001010100111', '0': '111101101101111', '1': '010110010010111',
    '2': '110001010100111', '3': '110001010001110', '4': '101101111001001', '5': '111100110001110',
    '6': '011100111101111', '7': '111001010010010', '8': '111101111101111', '9': '111101111001110',
    '!': '010010010000010', '.': '000000000000010', ',': '000000000010100', "'": '010010000000000',
    ':': '000010000010000', '-': '000000111000000', '?': '110001010000010', '/': '001001010100100',
    '*': '000010111010101',
}
# fmt: on


def text(canvas, message, x, y, shade, advance=8):
    """Letters of 6x10 pixels (dots of 2x2) in cells of `advance` pixels; x and y even."""
    for n, c in enumerate(message):
        dots = GLYPHS.get(c)
        for k, dot in enumerate(dots or ''):
            if dot == '1':
                canvas.rect(x + n * advance + 2 * (k % 3), y + 2 * (k // 3), 2, 2, shade)


def tile_at(canvas, tx, ty):
    return tuple(
        tuple(max(0, canvas.px[ty * 8 + j][tx * 8 + i]) for i in range(8)) for j in range(8)
    )


def tile_bytes(tile):
    out = []
    for row in tile:
        out.append(sum((s & 1) << (7 - i) for i, s in enumerate(row)))
        out.append(sum((s >> 1) << (7 - i) for i, s in enumerate(row)))
    return out


def distance(a, b):
    """How visible it is to show tile b for a; pixels that the observation samples count more."""
    return sum(
        (p - q) ** 2 * (3 if i % 2 == 0 and j % 2 == 0 else 1)
        for j, (r, s) in enumerate(zip(a, b))
        for i, (p, q) in enumerate(zip(r, s))
    )


def slice_map(canvases, limit):
    """Distinct tiles of some canvases and a map (rows of tile numbers) for each.

    Where there are more than `limit`, the least visible replacements are made; the cost is printed.
    """
    cells, use = [], {}
    for c in canvases:
        grid = [[tile_at(c, tx, ty) for tx in range(c.w // 8)] for ty in range(c.h // 8)]
        cells.append(grid)
        for row in grid:
            for t in row:
                use[t] = use.get(t, 0) + 1
    distinct, alias, cost = len(use), {}, 0
    order = {t: n for n, t in enumerate(use)}
    tiles = list(use)
    if distinct > limit:
        pairs = sorted(
            (distance(a, b) * min(use[a], use[b]), order[a], order[b])
            for n, a in enumerate(tiles)
            for b in tiles[:n]
        )
        for d, a, b in pairs:
            if len(use) <= limit:
                break
            a, b = tiles[a], tiles[b]
            if a in alias or b in alias:
                continue
            if use[a] > use[b]:
                a, b = b, a
            alias[a] = b
            use[b] += use.pop(a)
            cost += d
    kept = [t for t in tiles if t not in alias]

    def final(t):
        while t in alias:
            t = alias[t]
        return t

    number = {t: n for n, t in enumerate(kept)}
    print('  tiles: %d distinct, %d kept, replacement cost %d' % (distinct, len(kept), cost))
    return kept, [[[number[final(t)] for t in row] for row in grid] for grid in cells]


def db(values, per_line=16):
    return ''.join(
        '    .db ' + ','.join('0x%02X' % (v & 255) for v in values[k : k + per_line]) + '\n'
        for k in range(0, len(values), per_line)
    )


def write_inc(path, title, parts):
    """parts: (label, comment, bytes)."""
    with open(path, 'w', newline='\n') as f:
        f.write('; %s\n; Generated by art/; change the picture there, not here.\n' % title)
        for label, comment, values in parts:
            f.write(
                '\n; %s (%d bytes)\n%s:\n%s%s_end:\n'
                % (comment, len(values), label, db(values), label)
            )


def map_bytes(rows, width=32, height=32, fill=0):
    """A 32-wide background map from rows of tile numbers; what lies outside shows tile `fill`."""
    out = []
    for j in range(height):
        row = rows[j] if j < len(rows) else []
        out += [row[i] if i < len(row) else fill for i in range(width)]
    return out
