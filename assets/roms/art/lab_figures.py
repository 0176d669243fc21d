"""The figures of the adventure: 16x16 pixels, in text. '.' transparent, 'o' light, 'm' middle,
'#' dark. Per figure six pictures: down, up, left, each standing and stepping."""


def both_halves(rows):
    """Rows of eight pixels are the left half of a symmetrical row."""
    return [r if len(r) == 16 else r + r[::-1] for r in rows]


# fmt: off
HERO_FRONT = [
    '.....###', '...##mmm', '..#mmmmm', '..#mmooo', '.#######', '.##ooooo', '.#oo#ooo', '.#oo#ooo',
    '..#ooooo', '...#####', '..#mm#mm', '.#oo#mmm',
]
HERO_BACK = [
    '.....###', '...##mmm', '..#mmmmm', '..#mmmmm', '.##mmmmm', '.#######', '.#mmmmmm', '..##mmmm',
    '..######', '...#####', '..#m#ooo', '.#oo#ooo',
]
HERO_LEGS = ['.#oo#mmmmmm#oo#.', '..##mmmmmmmm##..', '...#mm####mm#...', '...####..####...']
HERO_STEP = ['.#oo#mmmmmm#oo#.', '..##mmmmmmmm##..', '...#######mm#...', '.........####...']
HERO_SIDE = [
    '.....#####......', '...##mmmmm##....', '..#mmmmmmmmm#...', '..#oommmmmmm#...',
    '#########mmm#...', '..#ooooo##mm#...', '..#o#ooo###m#...', '..#o#oooo####...',
    '..#ooooooo##....', '...########.....', '...#mmmm#m#.....', '...#mmoo#mm#....',
    '...#mmoo#mm#....',
]
HERO_SIDE_LEGS = ['...##mm##m#.....', '....#mmmmm#.....', '....######......']
HERO_SIDE_STEP = ['..##mmmm##m##...', '..#mm#..#mmm#...', '..####..####....']

SCHOLAR_FRONT = [
    '.....###', '...##mmm', '..#mmmmm', '..#mmmmm', '..#m#ooo', '..#ooooo', '..#####o', '..#o#o##',
    '..#oo###', '...#oooo', '..#o####', '.#ooo#oo',
]
SCHOLAR_BACK = [
    '.....###', '...##mmm', '..#mmmmm', '..#mmmmm', '..#mmmmm', '..#mmmmm', '..##mmmm', '..###mmm',
    '...#####', '...#oooo', '..#ooooo', '.#oo#ooo',
]
SCHOLAR_LEGS = ['.#oo#oo##oo#oo#.', '..###oo##oo###..', '...#ooo##ooo#...', '...####..####...']
SCHOLAR_STEP = ['.#oo#oo##oo#oo#.', '..###oo##oo###..', '...#ooo##ooo#...', '.........####...']
SCHOLAR_SIDE = [
    '.....#####......', '...##mmmmm##....', '..#mmmmmmmmm#...', '..#mmmmmmmmm#...',
    '..#ooo##mmmm#...', '..#oooo##mmm#...', '..######oo##....', '..#o#oo#oo#.....',
    '..#oooooo##.....', '...#ooo##.......', '...#oooo#o#.....', '...#oooo#oo#....',
    '...#oooo#oo#....',
]
SCHOLAR_SIDE_LEGS = ['...#oooo##o#....', '...#oooooo##....', '....######......']
SCHOLAR_SIDE_STEP = ['..##oooo##o#....', '..#ooooooooo#...', '..####..####....']

GRANNY_FRONT = [
    '......##', '.....#oo', '....####', '...#oooo', '..#ooooo', '..#oo###', '..#o#ooo', '..#oo##o',
    '..##oooo', '...#oo##', '..#m####', '.#mmm#oo',
]
GRANNY_BACK = [
    '......##', '.....#oo', '....####', '...#oooo', '..#ooooo', '..#ooooo', '..#ooooo', '..#ooooo',
    '..##oooo', '...#####', '..#mmmmm', '.#mmmmmm',
]
GRANNY_LEGS = ['.#oo#oooooo#oo#.', '..##oooooooo##..', '..#mmmmmmmmmm#..', '..############..']
GRANNY_SIDE = [
    '.........##.....', '.....####oo#....', '...##oooo##.....', '..#ooooooo#.....',
    '..#ooooooo#.....', '..#oooo####.....', '..#o#oooo#......', '..#oooooo#......',
    '...#ooooo#......', '....#####.......', '...#mmmmm#......', '...#mmoo##......',
    '...#mmoo##......', '...##mmmm#......', '..#mmmmmmm#.....', '..#########.....',
]

PARCEL = [
    '................', '................', '................', '..############..',
    '..#oooo##oooo#..', '..#oooo##oooo#..', '..#oooo##oooo#..', '..############..',
    '..############..', '..#mmmm##mmmm#..', '..#mmmm##mmmm#..', '..#mmmm##mmmm#..',
    '..#mmmm##mmmm#..', '..############..', '................', '................',
]
# fmt: on


def poses(front, back, legs, step, side, side_legs, side_step):
    return [
        both_halves(rows)
        for rows in (
            front + legs,
            front + step,
            back + legs,
            back + step,
            side + side_legs,
            side + side_step,
        )
    ]


HERO = poses(
    HERO_FRONT, HERO_BACK, HERO_LEGS, HERO_STEP, HERO_SIDE, HERO_SIDE_LEGS, HERO_SIDE_STEP
)
SCHOLAR = poses(
    SCHOLAR_FRONT,
    SCHOLAR_BACK,
    SCHOLAR_LEGS,
    SCHOLAR_STEP,
    SCHOLAR_SIDE,
    SCHOLAR_SIDE_LEGS,
    SCHOLAR_SIDE_STEP,
)
GRANNY = poses(GRANNY_FRONT, GRANNY_BACK, GRANNY_LEGS, GRANNY_LEGS, GRANNY_SIDE, [], [])


def figure_tiles(rows):
    """Four 8x8 tiles of colour numbers: top left, top right, bottom left, bottom right."""
    if len(rows) != 16 or any(len(r) != 16 for r in rows):
        raise SystemExit('a figure is not 16x16: %r' % rows)
    value = {'.': 0, 'o': 1, 'm': 2, '#': 3}
    return [
        tuple(tuple(value[c] for c in r[x : x + 8]) for r in rows[y : y + 8])
        for y in (0, 8)
        for x in (0, 8)
    ]
