"""Writes ../lab_art.inc: the rooms and figures of the adventure, and what can be walked on."""

import os
import sys
from paint import slice_map, tile_bytes, write_inc
import lab_figures
import lab_rooms

HERE = os.path.dirname(os.path.abspath(__file__))
SETS = (  # rooms that share their tiles
    ('title', ('title', 'thanks')),
    ('lab', ('lab',)),
    ('out', ('yard', 'village')),
    ('house', ('house',)),
)
CELL = {'.': 0, '#': 1, ',': 0x80}
FIRST_EXIT = 2


def cells(layout):
    if len(layout) != 9 or any(len(row) != 10 for row in layout):
        raise SystemExit('a layout is not 10x9: %r' % (layout,))
    return [CELL[c] if c in CELL else FIRST_EXIT + int(c) for row in layout for c in row]


def main():
    parts = []
    for name, rooms in SETS:
        tiles, maps = slice_map([getattr(lab_rooms, r)() for r in rooms], 256)
        parts.append(
            (
                'tiles_' + name,
                '%d background tiles for 8800' % len(tiles),
                [b for t in tiles for b in tile_bytes(t)],
            )
        )
        for room, rows in zip(rooms, maps):
            parts.append(
                ('map_' + room, '18 rows of 20', [(n + 128) & 255 for r in rows for n in r])
            )
    for room, layout in lab_rooms.LAYOUTS.items():
        parts.append(('cells_' + room, '9 rows of 10', cells(layout)))
    figures, at = [], {}
    for name, pictures in (
        ('HERO', lab_figures.HERO),
        ('SCHOLAR', lab_figures.SCHOLAR),
        ('GRANNY', lab_figures.GRANNY),
        ('PARCEL', [lab_figures.PARCEL]),
    ):
        at[name] = len(figures)
        for p in pictures:
            figures += lab_figures.figure_tiles(p)
    parts.append(
        (
            'objects',
            '%d object tiles for 8000' % len(figures),
            [b for t in figures for b in tile_bytes(t)],
        )
    )
    path = os.path.join(HERE, '..', 'lab_art.inc')
    write_inc(path, 'The adventure: tiles, maps, cells and figures.', parts)
    with open(path, 'a', newline='\n') as f:
        f.write('\n; First tile of each figure; the player starts at tile 0.\n')
        for name in ('SCHOLAR', 'GRANNY', 'PARCEL'):
            f.write('%s_TILE .equ %d\n' % (name, at[name]))
    print('  bytes: %d' % sum(len(p[2]) for p in parts))


if __name__ == '__main__':
    sys.exit(main())
