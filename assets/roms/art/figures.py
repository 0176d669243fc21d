"""Pictures of the moving things, in text: a letter is a dot of 2x2 pixels, corners smoothed.

Shades '0'..'3' ('1' and '2' never in one figure: an object has three colours), '.' transparent.
"""

WALKER = (
    "..3333..",
    ".322223.",
    "33333333",
    ".3300303",
    ".3300300",
    ".3300000",
    "..300003",
    "...3333.",
    "..33333.",
    ".3222223",
    "32322233",
    "30332223",
    "30333333",
)
WALKER_LEGS = (
    ("..322223", "..323323", "..33.333"),
    (".3222233", "3223.323", "333..333"),
    ("..322223", "...32233", "...33333"),
    (".322223.", ".323.323", ".333.333"),
)

DOG = (
    (
        ".........33.",
        "3.......3003",
        "33......3030",
        ".33....33000",
        ".33333330033",
        ".3000330003.",
        ".3003333003.",
        ".303....303.",
    ),
    (
        ".........33.",
        ".......33003",
        "3......33030",
        "33.....33000",
        ".33333330033",
        ".3000330003.",
        "3003333.3003",
        "33.......33.",
    ),
)

BOAT = (
    "........333.....",
    "........32233...",
    "........333.....",
    ".......030......",
    "......00300.....",
    "......003000....",
    ".....0003000....",
    ".....00030000...",
    "....000030000...",
    "....0000300000..",
    "...22222322222..",
    "........3.......",
    "33......3.....33",
    "3333333333333333",
    ".30022002200223.",
    "..333333333333..",
)

GULL = (
    (
        "33........33",
        "3003....3003",
        ".3003333003.",
        "..30000003..",
        "...300003...",
        "....3333....",
    ),
    (
        "............",
        "...333333...",
        ".3300000033.",
        "300330033003",
        "3033....3303",
        "33........33",
    ),
)

BALLOON = (
    "..3333..",
    ".303303.",
    "30033003",
    "30033003",
    "30033003",
    "30033003",
    ".303303.",
    ".333333.",
    "..3..3..",
    "..3..3..",
    "..3333..",
    "..3223..",
    "..3333..",
)

PUFF = (
    (".22.", "2022", "2222", ".22."),
    ("..222...", ".20022..", "2002222.", "22222222", ".222222.", "..22.22."),
    (
        "..22.22.",
        ".2002222",
        "20022202",
        "22222222",
        "22222222",
        "22022222",
        ".222222.",
        "..22.22.",
    ),
)

FISH = (
    (
        "....3333",
        "...30303",
        "..300003",
        ".3000033",
        ".300003.",
        "3300033.",
        "33333...",
        "3.33....",
    ),
    (
        "3.33....",
        "33333...",
        "3300033.",
        ".300003.",
        ".3000033",
        "..300003",
        "...30303",
        "....3333",
    ),
)


def doubled(rows):
    """Twice the size; a corner takes the shade of its two neighbours where they agree."""
    w = max(map(len, rows))
    rows = [r.ljust(w, '.') for r in rows]

    def at(i, j):
        return rows[j][i] if 0 <= i < w and 0 <= j < len(rows) else '.'

    out = []
    for j in range(len(rows)):
        upper, lower = '', ''
        for i in range(w):
            p, a, b, c, d = at(i, j), at(i, j - 1), at(i + 1, j), at(i - 1, j), at(i, j + 1)
            upper += (a if c == a and c != d and a != b else p) + (
                b if a == b and a != c and b != d else p
            )
            lower += (c if d == c and d != b and c != a else p) + (
                d if b == d and b != a and d != c else p
            )
        out += [upper, lower]
    return tuple(out)


def mirrored(rows):
    w = max(map(len, rows))
    return tuple(r.ljust(w, '.')[::-1] for r in rows)


def both(name, pictures):
    return {
        '%s_%s%d' % (name, side, k): (mirrored(p) if side == 'l' else p)
        for k, p in enumerate(pictures)
        for side in 'rl'
    }


FIGURES = {}
FIGURES.update(both('walker', [WALKER + legs for legs in WALKER_LEGS]))
FIGURES.update(both('dog', DOG))
FIGURES.update({'boat0': BOAT, 'balloon0': BALLOON})
for _name, _pictures in (('gull', GULL), ('puff', PUFF), ('fish', FISH)):
    FIGURES.update({'%s%d' % (_name, k): p for k, p in enumerate(_pictures)})
FIGURES = {name: doubled(rows) for name, rows in FIGURES.items()}
