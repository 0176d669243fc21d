"""Things that the scenes are made of: houses, trees, clouds, hills. Each draws itself."""

from paint import dithered, noise, smooth_noise


def ridge(c, base, height, seed, step, value, period=0):
    """A range of hills across the canvas; value(x, y, depth) is the shade."""
    crest = []
    for x in range(c.w):
        h = (
            smooth_noise(x / step, seed, period) * 0.65
            + smooth_noise(x / step * 2, seed + 1, period * 2) * 0.35
        )
        crest.append(int(base - h * height) & ~1)
    for x in range(c.w):
        for y in range(max(0, crest[x & ~1]), c.h):
            if y > base:
                break
            c.put(x, y, dithered(value(x, y, y - crest[x & ~1]), x, y))


def peak(c, x, base, height, half, snow_depth, seed, light=1, dark=2):
    """One mountain: lit from the left, a broken snow line, gullies on both faces."""
    spine = x
    for y in range(base - height, base, 2):
        d = y - (base - height)
        reach = d * half / height
        left = int(x - reach - 3 * smooth_noise(d / 5, seed)) & ~1
        right = int(x + reach + 3 * smooth_noise(d / 5, seed + 1)) & ~1
        spine = int(x + (smooth_noise(d / 7, seed + 2) - 0.3) * min(16, d * 0.7)) & ~1
        for i in range(left, right + 2, 2):
            lit = i < spine
            edge = (
                snow_depth
                + (4, 0, -4, 2, 6, -2)[(i // 2 + seed) % 6]
                + 6 * (smooth_noise(i / 9, seed + 5) - 0.5)
            )
            gully = (i - x + (1 if lit else -1) * d * half / height * 0.55) // 2 % 9 == 0 and noise(
                seed, i // 8, y // 12
            ) < 0.55
            if d < edge:
                s = 0 if lit else (1 if (i + y) // 2 % 2 or d < edge - 6 else 2)
            else:
                s = min(3, (light if lit else dark) + (1 if gully else 0))
            if i == left or i == right:
                s = 3
            c.rect(i, y, 2, 2, s)
    c.rect(x - 2, base - height - 2, 4, 2, 3)


PUFFS = (
    (0.12, 0.40, 0.12),
    (0.32, 0.80, 0.17),
    (0.54, 1.0, 0.18),
    (0.74, 0.62, 0.15),
    (0.9, 0.34, 0.10),
)


def cloud(c, x, y, w, h=12, body=0, shade=1, puffs=PUFFS):
    """A flat-bottomed heap of puffs, its bottom at y + h.

    A puff is its place, height and half width as parts of w and h.
    """
    inside = {}
    for n, (fx, fh, fr) in enumerate(puffs):
        cx, rx, ry = x + fx * w, fr * w, min(fr * w, fh * h * 0.62)
        cy = y + h - fh * h + ry
        for j in range((y + h - 30) & ~1, (y + h) & ~1, 2):
            for i in range(int(cx - rx - 2) & ~1, int(cx + rx) + 2, 2):
                dx, dy = (i + 1 - cx) / rx, (j + 1 - cy) / ry
                if abs(dx) <= 1 and (dx * dx + dy * dy <= 1 or dy > 0):
                    inside.setdefault((i, j), (n, dx, dy))
    bottom = (y + h - 2) & ~1
    for (i, j), (n, dx, dy) in inside.items():
        s = body
        if j == bottom or (dx > 0.62 and dy > -0.2) or (j == bottom - 2 and (i // 2 + n) % 4 < 2):
            s = shade
        c.rect(i, j, 2, 2, s)


def pine(c, x, base, h, dark=3, light=2, trunk=3):
    """A fir of stacked boughs, its tip h above the base."""
    x &= ~1
    c.rect(x, base - 4, 2, 4, trunk)
    for k, y in enumerate(range(base - h, base - 3, 2)):
        reach = 2 * (k // 4 + k % 4 if k > 1 else 0)
        for i in range(x - reach, x + reach + 2, 2):
            c.rect(i, y, 2, 2, light if i < x and k % 4 in (2, 3) and i > x - reach else dark)


def tree(c, x, base, r, dark=3, mid=2, light=1, trunk=6, seed=0):
    """A round-headed tree: scalloped outline, lit from the upper left, curls for leaves."""
    c.rect(x - 2, base - trunk - 4, 4, trunk + 4, 3)
    c.rect(x - 2, base - trunk - 2, 2, trunk, 2)
    c.rect(x - 4, base - 2, 8, 2, 3)
    cy = base - trunk - r + 2
    ring = [
        (0.55, -0.45),
        (-0.55, -0.45),
        (0.68, 0.25),
        (-0.68, 0.25),
        (0, -0.62),
        (0, 0.45),
        (0, 0),
    ]
    inside, marks = set(), []
    for dx, dy in ring:
        px, py, k = x + dx * r, cy + dy * r, r * 0.48
        for j in range(int(py - k) & ~1, int(py + k) + 2, 2):
            for i in range(int(px - k) & ~1, int(px + k) + 2, 2):
                if (i + 1 - px) ** 2 + (j + 1 - py) ** 2 <= k * k + 1:
                    inside.add((i, j))
    for i, j in inside:
        edge = any((i + a, j + b) not in inside for a, b in ((2, 0), (-2, 0), (0, 2), (0, -2)))
        lit = ((i + 1 - x) * 0.7 + (j + 1 - cy)) / r
        s = light if lit < -0.2 else mid
        if noise(seed, i // 2, j // 2) < 0.16:  # a leaf, two cells wide, of the next shade
            marks.append((i, j, s + 1))
        if lit > 0.72:
            s = dark
        c.rect(i, j, 2, 2, dark if edge else s)
    for i, j, s in marks:
        if all((i + a, j + b) in inside for a in (-2, 0, 2, 4) for b in (-2, 0, 2)):
            c.rect(i, j, 4, 2, min(dark, s))
            c.rect(i, j - 2, 2, 2, max(light, s - 2))


def bush(c, x, base, w, h, dark=3, light=2):
    c.ellipse(x, base - h * 0.4, w / 2, h * 0.6, lambda i, j: -1 if j >= base else dark)
    c.ellipse(
        x - 1, base - h * 0.45, w / 2 - 2, h * 0.45, lambda i, j: -1 if j >= base - 2 else light
    )
    for k in range(w // 4):
        c.rect((int(x - w / 2 + 2 + k * 4)) & ~1, (base - 3 - (k % 2) * 3) & ~1, 2, 2, dark)


def house(
    c,
    x,
    base,
    w,
    h,
    roof,
    wall=1,
    shade=2,
    tiles=2,
    lit=0,
    windows=(),
    door=None,
    chimney=None,
    brick=False,
):
    """A house seen from the long side. Windows: (dx, dy, w, h) from the wall's top left."""
    top = base - h
    if chimney is not None:
        c.rect(x + chimney, top - roof - 4, 8, roof + 4, 3)
        c.rect(x + chimney + 2, top - roof - 2, 4, roof, 2)
        c.rect(x + chimney + 2, top - roof - 2, 2, roof, 1)
        c.rect(x + chimney - 2, top - roof - 4, 12, 2, 3)
    c.rect(x, top, w, h, wall)
    c.rect(x + w - 6, top, 6, h, shade)
    if brick:
        for j in range(top + 4, base, 4):
            for i in range(x + 2 + (j // 4 % 2) * 4, x + w - 2, 8):
                c.rect(i, j, 4, 2, shade)
    c.rect(x, top, w, 4, shade)
    c.frame(x, top, w, h, 3, 1)
    c.rect(x, base - 2, w, 2, 3)
    for j in range(roof):  # roof: slanted ends, rows of tiles
        k = top - roof + j
        inset = (roof - j) // 2
        for i in range(x - 4 + inset, x + w + 4 - inset):
            col = (i + (k // 4 % 2) * 4) // 2
            s = (
                tiles
                if k % 4 >= 2
                else (3 if col % 4 == 0 else max(0, tiles - 1) if col % 4 == 1 else tiles)
            )
            c.put(i, k, s)
        for e in (0, 1):
            c.put(x - 4 + inset + e, k, 3)
            c.put(x + w + 3 - inset - e, k, 3)
    c.rect(x - 4 + roof // 2, top - roof - 1, w + 8 - 2 * (roof // 2), 2, 3)
    c.rect(x - 4, top - 1, w + 8, 2, 3)
    for dx, dy, ww, wh in windows:
        c.rect(x + dx - 2, top + dy - 2, ww + 4, wh + 4, 3)
        c.rect(x + dx, top + dy, ww, wh, lit)
        c.rect(
            x + dx + ww // 2 - (1 if ww > 4 else 0),
            top + dy,
            2 if ww > 4 else 1,
            wh,
            2 if ww > 4 else 3,
        )
        c.rect(x + dx - 2, top + dy + wh + 2, ww + 4, 1, shade)
    if door is not None:
        c.rect(x + door - 2, base - 16, 12, 14, 3)
        c.rect(x + door, base - 14, 8, 12, 2)
        c.rect(x + door, base - 14, 2, 12, 1)
        c.rect(x + door + 6, base - 8, 2, 2, 0)
        c.rect(x + door - 4, base - 2, 16, 2, 1)


def tower(c, x, base, w, h, spire, clock=True, lit=0):
    """A church tower with a pointed roof."""
    top = base - h
    c.rect(x, top, w, h, 1)
    c.rect(x + w - 4, top, 4, h, 2)
    for j in range(top + 2, base, 6):
        for i in range(x + 2 + (j // 6 % 2) * 4, x + w - 4, 8):
            c.rect(i, j, 4, 2, 2)
    c.frame(x, top, w, h, 3, 1)
    for j in range(spire):
        half = (w / 2 + 2) * j / spire
        y = top - spire + j
        for i in range(int(x + w / 2 - half), int(x + w / 2 + half)):
            c.put(i, y, 3 if i > x + w / 2 else (2 if j % 4 < 2 else 3))
    c.rect(x + w // 2 - 1, top - spire - 6, 2, 8, 3)
    c.rect(x + w // 2 - 3, top - spire - 4, 6, 2, 3)
    c.rect(x - 2, top - 1, w + 4, 3, 3)
    if clock:
        c.ellipse(x + w / 2, top + 10, 6, 6, 3)
        c.ellipse(x + w / 2, top + 10, 4, 4, 0)
        c.rect(x + w // 2 - 1, top + 7, 2, 4, 3)
        c.rect(x + w // 2 - 1, top + 10, 4, 1, 3)
    c.rect(x + w // 2 - 3, base - 16, 6, 10, 3)
    c.rect(x + w // 2 - 1, base - 14, 2, 6, lit)


def box(c, x, y, w, h, paper=0, ink=3):
    """A text window with a double border and cut corners."""
    c.rect(x, y, w, h, ink)
    c.rect(x + 2, y + 2, w - 4, h - 4, paper)
    c.frame(x + 4, y + 4, w - 8, h - 8, ink, 2)
    for i, j in ((x, y), (x + w - 2, y), (x, y + h - 2), (x + w - 2, y + h - 2)):
        c.rect(i, j, 2, 2, paper)
    for i, j in ((x + 2, y + 2), (x + w - 6, y + 2), (x + 2, y + h - 6), (x + w - 6, y + h - 6)):
        c.rect(i, j, 4, 4, ink)
        c.rect(i + 2 * (i < x + 8), j + 2 * (j < y + 8), 2, 2, paper)
