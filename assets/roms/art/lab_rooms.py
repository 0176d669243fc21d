"""Paints the rooms of the adventure, 160x144 each, on a grid of 16 pixels. Returns canvases.

LAYOUTS is what the game knows of a room: '#' wall, '.' free, ',' free but not for the person who
wanders, a digit the entry of `exits` in lab.s that the cell leads to.
"""

from paint import GLYPHS, Canvas, noise, text
import props

LAYOUTS = {
    'lab': (
        '##########',
        '##########',
        '###.......',
        '#######,##',
        '#####.....',
        '####...###',
        '####....##',
        '####,..###',
        '####0#####',
    ),
    'yard': (
        '##########',
        '##########',
        '##########',
        '####1#####',
        '#........#',
        '#........2',
        '#.##.##..2',
        '##########',
        '##########',
    ),
    'village': (
        '##########',
        '##########',
        '##4#######',
        '#.......##',
        '######.###',
        '3..###...#',
        '3..###.#.#',
        '.......#..',
        '##########',
    ),
    'house': (
        '##########',
        '##########',
        '#........#',
        '..........',
        '..###.....',
        '..###.....',
        '..........',
        '#........#',
        '####5#####',
    ),
    'title': ('##########',) * 9,
}


# ---- inside ----------------------------------------------------------------------------------


def tiled_floor(c):
    """Pale tiles with a bevel; every second one a little darker."""
    for y in range(32, 144, 16):
        for x in range(0, 160, 16):
            c.rect(x, y, 16, 16, 0)
            c.rect(x + 14, y, 2, 16, 1)
            c.rect(x, y + 14, 16, 2, 1)
            if (x // 16 + y // 16) % 2:
                c.rect(x + 4, y + 4, 2, 2, 1)
                c.rect(x + 8, y + 8, 2, 2, 1)


def books(c, x, y, w, h, seed):
    """A row of books that stand on y + h."""
    i = x
    while i < x + w:
        n = 4 if noise(seed, i) < 0.45 and i + 4 <= x + w else 2
        top = y + (2 if noise(seed, i, 1) < 0.4 else 0)
        s = int(noise(seed, i, 2) * 3)
        c.rect(i, top, n, y + h - top, s)
        if n == 4:
            c.rect(i, top + 2, 4, 2, (s + 2) % 3)
            c.rect(i + 2, top, 2, y + h - top, min(2, s + 1))
        i += n


def bookcase(c, x, y, w, h, seed):
    c.rect(x, y, w, h, 3)
    c.rect(x + 2, y + 2, w - 4, 2, 1)
    shelf = y + 6
    k = 0
    while shelf + 8 <= y + h - 2:
        books(c, x + 2, shelf, w - 4, 8, seed + k)
        shelf += 10
        k += 1
    c.rect(x, y + h - 2, w, 2, 3)


def table(c, x, y, w, h, front=8):
    """A table seen from above and in front."""
    c.rect(x, y, w, h, 3)
    c.rect(x + 2, y + 2, w - 4, h - front - 4, 0)
    c.rect(x + 2, y + h - front - 4, w - 4, 2, 1)
    c.rect(x + 2, y + h - front, w - 4, front - 2, 2)
    for i in range(x + 8, x + w - 4, 8):
        c.rect(i, y + h - front, 2, front - 2, 3)


def flask(c, x, y, level, round_=True):
    """A flask of 8x12 with something in it."""
    c.rect(x + 2, y, 4, 2, 3)
    c.rect(x + 2, y + 2, 2, 2, 3)
    c.rect(x + 4, y + 2, 2, 2, 3)
    if round_:
        c.rect(x, y + 4, 8, 8, 3)
        c.rect(x + 2, y + 4, 4, 6, 0)
        c.rect(x + 2, y + 10 - level, 4, level, 2)
    else:
        c.rect(x + 2, y + 2, 4, 10, 3)
        c.rect(x + 3, y + 2, 2, 8, 0)
        c.rect(x + 3, y + 10 - level, 2, level, 2)


def window(c, x, y, w, h):
    c.rect(x, y, w, h, 3)
    c.rect(x + 2, y + 2, w - 4, h - 4, 0)
    for k in range(0, w - 4, 2):
        c.rect(x + 2 + k, y + 2 + (h - 6 - k // 2 * 2) % (h - 4), 2, 2, 1)
    c.rect(x + w // 2 - 1, y + 2, 2, h - 4, 3)
    c.rect(x - 2, y + h, w + 4, 2, 3)
    c.rect(x - 2, y + h - 2, w + 4, 2, 0)


def inner_wall(c, low, high, stripe):
    """The far wall: two shades in stripes, a moulding above and a skirting below."""
    for x in range(0, 160, 2):
        c.rect(x, 0, 2, 32, high if (x // 2) % stripe == 0 else low)
    c.rect(0, 0, 160, 2, 3)
    c.rect(0, 2, 160, 2, 0)
    c.rect(0, 4, 160, 2, 3)
    c.rect(0, 26, 160, 2, 3)
    c.rect(0, 28, 160, 2, 1)
    c.rect(0, 30, 160, 2, 3)


def near_wall(c, door):
    """The wall in front, seen from behind: dark, with an opening and a mat."""
    c.rect(0, 128, 160, 16, 3)
    c.rect(0, 130, 160, 2, 2)
    for y in range(134, 144, 4):
        for x in range(y % 8 * 2, 160, 16):
            c.rect(x, y, 10, 2, 2)
    x = door * 16
    c.rect(x - 2, 128, 20, 16, 3)
    c.rect(x, 128, 16, 16, 0)
    c.rect(x + 2, 130, 12, 12, 2)
    for k in range(0, 12, 4):
        c.rect(x + 2 + k, 130, 2, 12, 1)
    c.rect(x + 4, 134, 8, 2, 3)
    c.rect(x + 6, 136, 4, 2, 3)


def machine(c, x, y):
    """The big apparatus, 48x28: a screen with a curve, a tank with bubbles, dials."""
    c.rect(x, y, 48, 28, 3)
    c.rect(x + 2, y + 2, 44, 24, 1)
    c.rect(x + 2, y + 2, 44, 2, 0)
    c.rect(x + 4, y + 6, 20, 12, 3)
    for k, h in enumerate((4, 4, 2, 6, 0, 8, 2, 4)):
        c.rect(x + 6 + 2 * k, y + 8 + h, 2, 2, 0)
    for k in range(4):
        c.rect(x + 4 + 6 * k, y + 20, 4, 4, 3)
        c.rect(x + 4 + 6 * k, y + 20, 2, 2, 0 if k % 2 else 2)
    c.rect(x + 28, y - 2, 16, 28, 3)
    c.rect(x + 30, y, 12, 24, 0)
    c.rect(x + 30, y + 8, 12, 16, 2)
    for i, j in ((4, 10), (8, 14), (2, 18), (6, 20), (8, 4)):
        c.rect(x + 30 + i, y + j, 2, 2, 0)
    c.rect(x + 28, y + 24, 16, 2, 3)


def crate(c, x, y):
    c.rect(x, y, 16, 16, 3)
    c.rect(x + 2, y + 2, 12, 4, 0)
    c.rect(x + 2, y + 8, 12, 6, 1)
    c.rect(x + 6, y + 2, 4, 4, 2)
    c.rect(x + 4, y + 10, 8, 2, 2)


def terrarium(c, x, y, w, h):
    """A glass case with plants and something small that looks out."""
    c.rect(x, y, w, h, 3)
    c.rect(x + 2, y + 2, w - 4, 2, 0)
    c.rect(x + 2, y + 6, w - 4, h - 16, 1)
    for k in range(0, w - 8, 2):  # the ground
        top = 4 + 2 * int(noise(k, 17) * 2)
        c.rect(x + 4 + k, y + h - 10 - top, 2, top, 2)
    for i, height in ((8, 18), (12, 12), (44, 14), (50, 20), (54, 10)):
        for j in range(0, height, 2):
            c.rect(x + i + (j // 2 % 2) * 2, y + h - 14 - j, 2, 2, 3)
            if j % 4 == 0:
                c.rect(x + i - 2, y + h - 14 - j, 2, 2, 2)
                c.rect(x + i + 4, y + h - 16 - j, 2, 2, 2)
    c.ellipse(x + 31, y + h - 17, 9, 8, 3)
    c.ellipse(x + 31, y + h - 17, 7, 6, 0)
    c.rect(x + 24, y + h - 28, 4, 6, 3)
    c.rect(x + 34, y + h - 28, 4, 6, 3)
    c.rect(x + 26, y + h - 20, 2, 4, 3)
    c.rect(x + 34, y + h - 20, 2, 4, 3)
    c.rect(x + 30, y + h - 16, 2, 2, 2)
    for k in range(6):  # light on the glass
        c.rect(x + 14 - 2 * k, y + 8 + 2 * k, 2, 2, 0)
        c.rect(x + 20 - 2 * k, y + 8 + 2 * k, 2, 2, 0)
    c.rect(x, y + h - 10, w, 10, 3)
    c.rect(x + 2, y + h - 8, w - 4, 4, 2)
    for i in range(x + 6, x + w - 6, 12):
        c.rect(i, y + h - 8, 6, 2, 0)


def lab():
    c = Canvas(160, 144)
    inner_wall(c, 1, 0, 4)
    tiled_floor(c)
    bookcase(c, 0, 4, 32, 28, 11)
    window(c, 40, 8, 20, 14)
    machine(c, 64, 4)
    c.rect(116, 8, 32, 16, 3)  # a board with a formula
    c.rect(118, 10, 28, 12, 2)
    for i, j, w in ((0, 2, 6), (8, 2, 2), (12, 2, 10), (2, 6, 8), (12, 6, 4), (18, 6, 6)):
        c.rect(120 + i, 10 + j, w, 2, 0)
    c.rect(114, 24, 36, 2, 3)
    c.rect(152, 12, 6, 20, 3)  # a gas bottle
    c.rect(154, 14, 2, 16, 1)
    c.rect(153, 8, 4, 4, 3)

    for x in (0, 16, 32):
        crate(c, x, 32)
    for x in (80, 96):
        crate(c, x, 48)
    table(c, 0, 50, 80, 30)  # the workbench: glass, a book, a computer
    flask(c, 4, 46, 4)
    flask(c, 14, 48, 6, False)
    flask(c, 22, 46, 2)
    c.rect(34, 54, 14, 12, 3)
    c.rect(34, 56, 6, 8, 0)
    c.rect(42, 56, 6, 8, 0)
    c.rect(36, 58, 4, 2, 1)
    c.rect(42, 60, 4, 2, 1)
    c.rect(54, 42, 22, 18, 3)
    c.rect(56, 44, 18, 12, 2)
    for j, w in ((46, 10), (50, 6)):
        c.rect(58, j, w, 2, 0)
    c.rect(54, 62, 22, 4, 3)
    c.rect(56, 62, 18, 2, 1)
    terrarium(c, 0, 82, 64, 46)

    table(c, 128, 48, 32, 16, 6)
    bookcase(c, 112, 78, 48, 18, 31)
    for x in (128, 144):
        c.rect(x + 2, 104, 12, 8, 3)
        c.rect(x + 4, 104, 8, 6, 1)
        props.bush(c, x + 8, 106, 16, 20, 3, 2)
    c.rect(112, 110, 48, 18, 3)  # a row of cabinets with lamps
    for x in (112, 128, 144):
        c.rect(x + 2, 112, 12, 14, 1)
        c.rect(x + 2, 112, 12, 2, 0)
        c.rect(x + 4, 116, 8, 2, 3)
        c.rect(x + 4, 120, 2, 2, 3)
        c.rect(x + 8, 120, 4, 2, 0 if x == 128 else 3)
    near_wall(c, 4)
    return c


def house():
    c = Canvas(160, 144)
    for y in range(32, 144, 8):  # planks
        c.rect(0, y, 160, 8, 0)
        c.rect(0, y + 6, 160, 2, 1)
        for x in range(16 if y % 16 else 48, 160, 64):
            c.rect(x, y, 2, 6, 1)
    inner_wall(c, 0, 1, 2)
    c.rect(0, 20, 160, 6, 2)
    c.rect(0, 18, 160, 2, 3)
    for x in range(6, 160, 16):
        c.rect(x, 20, 2, 6, 3)
    window(c, 38, 6, 24, 12)
    window(c, 98, 6, 24, 12)
    c.rect(70, 2, 24, 30, 3)  # a stove with a fire
    c.rect(72, 4, 20, 4, 2)
    c.rect(74, 12, 16, 18, 2)
    c.rect(76, 14, 12, 14, 3)
    for i, h in ((0, 4), (2, 8), (4, 10), (6, 6), (8, 8), (10, 4)):
        c.rect(76 + i, 28 - h, 2, h, 0 if i % 4 == 0 else 1)
    bookcase(c, 2, 4, 28, 28, 71)
    c.rect(130, 8, 26, 24, 3)  # a cupboard with plates
    c.rect(132, 10, 22, 8, 1)
    for k in range(3):
        c.rect(134 + 7 * k, 12, 4, 6, 0)
    c.rect(132, 20, 10, 10, 2)
    c.rect(144, 20, 10, 10, 2)
    c.rect(140, 24, 2, 2, 0)
    c.rect(144, 24, 2, 2, 0)

    c.rect(88, 60, 64, 44, 3)  # a rug
    c.rect(90, 62, 60, 40, 2)
    c.frame(94, 66, 52, 32, 0, 2)
    for y in range(70, 94, 4):
        for x in range(98, 142, 4):
            c.rect(x, y, 2, 2, 3 if (x + y) // 4 % 2 else 1)
    table(c, 32, 64, 48, 32)
    c.rect(38, 66, 8, 8, 3)  # a pot of tea and cups
    c.rect(40, 68, 4, 4, 1)
    c.rect(46, 68, 4, 2, 3)
    for x in (56, 66):
        c.rect(x, 70, 6, 6, 3)
        c.rect(x + 2, 70, 2, 4, 0)
    c.rect(0, 32, 16, 16, 3)  # a chest
    c.rect(2, 34, 12, 6, 2)
    c.rect(2, 42, 12, 4, 1)
    c.rect(6, 40, 4, 4, 0)
    c.rect(146, 32, 14, 16, 3)  # a clock
    c.rect(148, 34, 10, 12, 1)
    c.rect(150, 36, 6, 6, 0)
    c.rect(152, 36, 2, 4, 3)
    for x in (0, 144):
        c.rect(x + 2, 118, 12, 10, 3)
        c.rect(x + 4, 120, 8, 6, 1)
        props.bush(c, x + 8, 120, 16, 20, 3, 2)
    near_wall(c, 4)
    return c


# ---- outside ---------------------------------------------------------------------------------


def grass(c, y0=0):
    for y in range(y0, 144, 16):
        for x in range(0, 160, 16):
            c.rect(x, y, 16, 16, 1)
            for i, j in ((2, 4), (4, 2), (6, 4), (10, 10), (12, 8), (14, 10)):
                c.rect(x + i, y + j, 2, 2, 2)
            c.rect(x + 4, y + 12, 2, 2, 0)


def path(c, cells):
    for x, y in cells:
        c.rect(16 * x, 16 * y, 16, 16, 0)
        for i, j in ((2, 2), (10, 6), (4, 10), (12, 12)):
            c.rect(16 * x + i, 16 * y + j, 2, 2, 1)
    for x, y in cells:  # a dark edge towards the grass
        for dx, dy, rect in (
            (-1, 0, (0, 0, 2, 16)),
            (1, 0, (14, 0, 2, 16)),
            (0, -1, (0, 0, 16, 2)),
            (0, 1, (0, 14, 16, 2)),
        ):
            if (x + dx, y + dy) not in cells and 0 <= x + dx < 10:
                c.rect(16 * x + rect[0], 16 * y + rect[1], rect[2], rect[3], 2)


def small_tree(c, x, y):
    """A tree of exactly one cell, for rows of them."""
    rows = (
        '.333333.',
        '33222233',
        '32212223',
        '32122323',
        '32223223',
        '33232233',
        '.333333.',
        '..3223..',
    )
    c.rect(16 * x, 16 * y, 16, 16, 2)
    c.stamp(rows, 16 * x, 16 * y, scale=2)


def flowers(c, x, y):
    for i, j in ((2, 2), (10, 4), (4, 10), (12, 12)):
        c.rect(16 * x + i - 2, 16 * y + j, 6, 2, 0)
        c.rect(16 * x + i, 16 * y + j - 2, 2, 6, 0)
        c.rect(16 * x + i, 16 * y + j, 2, 2, 3)


def fence(c, x, y):
    x, y = 16 * x, 16 * y
    c.rect(x, y + 4, 16, 4, 3)
    c.rect(x, y + 4, 16, 2, 0)
    c.rect(x, y + 10, 16, 4, 3)
    c.rect(x, y + 10, 16, 2, 0)
    for i in (2, 10):
        c.rect(x + i - 2, y, 6, 16, 3)
        c.rect(x + i, y + 2, 2, 12, 0)


def pond(c, x, y, w, h):
    x, y, w, h = 16 * x, 16 * y, 16 * w, 16 * h
    c.rect(x + 2, y, w - 4, h, 3)
    c.rect(x, y + 2, w, h - 4, 3)
    c.rect(x + 2, y + 2, w - 4, h - 4, 2)
    for j in range(y + 6, y + h - 4, 6):
        for i in range(x + 4 + j % 4 * 3, x + w - 8, 12):
            c.rect(i, j, 6, 2, 0)
            c.rect(i + 2, j + 2, 6, 2, 3)
    c.rect(x + w - 14, y + 6, 8, 6, 1)  # a lily
    c.rect(x + w - 12, y + 6, 2, 2, 0)


def yard():
    c = Canvas(160, 144)
    grass(c)
    path(
        c,
        {(4, 4), (4, 5)} | {(x, 5) for x in range(4, 10)} | {(x, 6) for x in (7, 8, 9)},
    )
    for x in range(10):
        small_tree(c, x, 8)
        small_tree(c, x, 7)
    for y in range(9):
        small_tree(c, 0, y)
    for y in range(5):
        small_tree(c, 9, y)
    small_tree(c, 8, 0)
    small_tree(c, 8, 1)
    for x in (2, 3, 5, 6):
        flowers(c, x, 6)

    x, y, w = 16, 0, 124  # the laboratory from outside
    c.rect(x, y, w, 64, 3)
    c.rect(x + 2, y + 2, w - 4, 20, 2)
    for j in range(4, 22, 6):
        c.rect(x + 2, y + j, w - 4, 2, 3)
    c.rect(x, y + 22, w, 2, 3)
    c.rect(x + 2, y + 24, w - 4, 38, 0)
    c.rect(x + 2, y + 24, w - 4, 4, 1)
    for j in range(32, 60, 8):
        c.rect(x + 2, y + j, w - 4, 2, 1)
    c.rect(x + 2, y + 58, w - 4, 4, 2)
    for i in (8, 28, 76, 98):
        c.rect(x + i, y + 32, 16, 16, 3)
        c.rect(x + i + 2, y + 34, 12, 12, 2)
        c.rect(x + i + 2, y + 34, 4, 4, 0)
        c.rect(x + i + 8, y + 34, 2, 12, 3)
        c.rect(x + i - 2, y + 48, 20, 2, 3)
    c.rect(58, 26, 28, 14, 3)  # the name over the door
    c.rect(60, 28, 24, 10, 0)
    text(c, 'LAB', 62, 28, 3)
    c.rect(62, 42, 20, 22, 3)
    c.rect(64, 44, 16, 20, 2)
    c.rect(66, 46, 6, 18, 1)
    c.rect(74, 46, 6, 18, 1)
    c.rect(72, 44, 2, 20, 3)
    c.ellipse(116, 8, 10, 6, 0)  # a dish on the roof
    c.ellipse(116, 6, 10, 5, 1)
    c.line(110, 2, 122, 14, 3, 2)
    return c


def village():
    c = Canvas(160, 144)
    grass(c)
    road = {(x, 3) for x in range(1, 8)} | {(6, 4), (6, 5), (7, 5), (8, 5), (6, 6), (6, 7)}
    road |= {(x, 7) for x in range(6)} | {(8, 6), (8, 7), (9, 7), (0, 5), (0, 6)}
    path(c, road)
    for x in range(10):
        small_tree(c, x, 8)
    for x in range(5, 10):
        small_tree(c, x, 0)
    small_tree(c, 9, 1)
    small_tree(c, 9, 2)
    small_tree(c, 5, 1)
    for x, y in ((6, 1), (7, 2), (8, 1), (6, 2), (8, 2), (7, 1)):
        flowers(c, x, y)
    fence(c, 5, 2)
    for x in range(10):
        if x != 6:
            fence(c, x, 4)
    pond(c, 3, 5, 3, 2)
    for x, y in ((0, 3), (8, 3), (9, 3), (9, 5), (9, 6)):
        small_tree(c, x, y)
    small_tree(c, 7, 6)
    small_tree(c, 7, 7)
    flowers(c, 2, 5)
    flowers(c, 1, 6)

    props.house(
        c,
        4,
        48,
        72,
        24,
        22,
        wall=0,
        shade=1,
        tiles=2,
        lit=2,
        windows=((8, 8, 10, 8), (48, 8, 10, 8)),
        chimney=52,
    )
    c.rect(30, 28, 20, 20, 3)
    c.rect(32, 30, 16, 18, 2)
    c.rect(34, 32, 12, 16, 1)
    c.rect(38, 32, 2, 16, 2)
    c.rect(44, 40, 2, 2, 3)
    return c


# ---- title and thanks ------------------------------------------------------------------------


def big_text(c, message, x, y, shade, dot, advance):
    for n, letter in enumerate(message):
        for k, on in enumerate(GLYPHS.get(letter, '')):
            if on == '1':
                c.rect(x + n * advance + dot * (k % 3), y + dot * (k // 3), dot, dot, shade)


def title():
    c = Canvas(160, 144, 1)
    for y in range(0, 64, 2):
        for x in range(0, 160, 2):
            c.rect(x, y, 2, 2, 3 if noise(x, y, 5) > 0.012 else 0)
    c.shade_rect(0, 40, 160, 24, lambda x, y: 3 - (y - 40) / 24)
    for x, h in ((2, 16), (22, 24), (44, 12), (62, 20), (96, 14), (118, 26), (140, 16)):
        c.rect(x, 64 - h, 18, h, 3)
        for j in range(64 - h + 4, 62, 6):
            for i in range(x + 4, x + 14, 6):
                c.rect(i, j, 2, 2, 0 if noise(i, j, 8) < 0.5 else 2)
    for dx, dy, s in ((2, 2, 2), (0, 0, 0)):
        big_text(c, 'THE LAB', 14 + dx, 10 + dy, s, 6, 20)
    c.rect(0, 64, 160, 2, 3)
    c.rect(0, 66, 160, 78, 0)
    props.box(c, 0, 66, 160, 78)
    for k, line in enumerate(('EXIT THE LAB', 'ENTER A HOUSE', 'RUN AN ERRAND')):
        text(c, line, 40, 82 + 16 * k, 3)
    return c


def thanks():
    """The old lady, the parcel in front of her, and her word."""
    c = Canvas(160, 144, 3)
    for y in range(0, 96, 2):
        for x in range(0, 160, 2):
            ray = (x - 80) * 0.9 - (y - 60) * (1 if x > 80 else -1)
            c.rect(x, y, 2, 2, 2 if int(abs(ray)) // 14 % 2 else 3)
    c.ellipse(80, 44, 38, 42, 3)
    c.ellipse(80, 44, 36, 40, 1)
    c.ellipse(80, 10, 14, 10, 3)
    c.ellipse(80, 10, 12, 8, 0)
    c.ellipse(80, 40, 28, 30, 3)
    c.ellipse(80, 40, 26, 28, 0)
    c.ellipse(80, 50, 20, 22, 3)
    c.ellipse(80, 50, 18, 20, 0)
    for x in (66, 84):  # glasses
        c.rect(x, 44, 12, 10, 3)
        c.rect(x + 2, 46, 8, 6, 0)
        c.rect(x + 4, 48, 4, 2, 3)
    c.rect(78, 48, 6, 2, 3)
    c.rect(78, 54, 4, 4, 2)
    c.rect(70, 60, 2, 2, 3)
    c.rect(88, 60, 2, 2, 3)
    c.rect(72, 62, 16, 2, 3)
    for x in (62, 92):
        c.rect(x, 56, 6, 4, 1)
    c.poly([(44, 96), (56, 76), (104, 76), (116, 96)], 3)
    c.poly([(48, 96), (58, 78), (102, 78), (112, 96)], 2)
    c.rect(58, 72, 44, 26, 3)  # the parcel
    c.rect(60, 74, 40, 8, 0)
    c.rect(60, 84, 40, 12, 1)
    c.rect(76, 74, 8, 22, 3)
    c.rect(78, 74, 4, 22, 2)
    props.box(c, 0, 96, 160, 48)
    text(c, 'THANK YOU SO MUCH!', 8, 106, 3)
    text(c, 'THE PARCEL IS HERE', 8, 124, 3)
    return c
