"""What is in the kernel's tables of System V objects."""


def _rows(kind):
    with open(f"/proc/sysvipc/{kind}") as table:
        head, *rows = (line.split() for line in table)
    return [dict(zip(head, map(int, row))) for row in rows]


def objects():
    """How many objects of each kind there are."""
    return {kind: len(_rows(kind)) for kind in ("shm", "sem", "msg")}


def resident(id):
    """How many bytes of memory a segment takes."""
    (row,) = (row for row in _rows("shm") if row["shmid"] == id)
    return row["rss"]
