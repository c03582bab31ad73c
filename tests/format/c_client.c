/*
 * A minimal client of Tombolo's segments in C11, from docs/format.md alone.
 *
 * A test of the document, section 17 in particular: it shares no code with the
 * library, and tests/format/python.rs has the two talk to each other. It opens
 * channels of u64, MPMC, SPSC and broadcast, sends, receives, sleeps and wakes,
 * and never sweeps. Numbers in comments are the document's sections.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef uint64_t u64;

enum { LEASE = 0, BUILT = 1, GENERATION = 2, CHECK = 6, WAKE_ALL = 7 };
enum { FREE_SLOT = 0, LIVE = 1, DEAD = 2 };
enum { SPSC = 1, MPMC = 2, BROADCAST = 5 };
enum { SENDER = 0, RECEIVER = 1 };
enum { FREE = 0, WRITING = 1, FULL = 2, READING = 3, ORPHAN = 4 };
/* The result of a try. */
enum { NOTHING = 0, DONE = 1, PENDING = 2 };

#define UNDO SEM_UNDO
#define NOWAIT IPC_NOWAIT

static char *base;
static int set, shm;
static u64 size, P, C, generation, flags, infos, directory, heap;
static unsigned count;
static unsigned short *values;
/* This participant. */
static u64 me, incarnation;

static void fail(const char *what)
{
    printf("failed: %s: %s\n", what, strerror(errno));
    exit(1);
}

static u64 up(u64 n, u64 m) { return (n + m - 1) / m * m; }

/* 1: words */

static _Atomic u64 *word(u64 at) { return (_Atomic u64 *)(base + at); }
static u64 relaxed(u64 at) { return atomic_load_explicit(word(at), memory_order_relaxed); }
static u64 acquire(u64 at) { return atomic_load_explicit(word(at), memory_order_acquire); }
static void release(u64 at, u64 value)
{
    atomic_store_explicit(word(at), value, memory_order_release);
}
static void add(u64 at, u64 n) { atomic_fetch_add_explicit(word(at), n, memory_order_release); }
static bool swap(u64 at, u64 from, u64 to)
{
    return atomic_compare_exchange_strong_explicit(word(at), &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}
/* A word that names a life has its incarnation in the upper half. */
static u64 of_life(u64 n, u64 what) { return n << 32 | what; }
static u64 low(u64 word) { return word & 0xFFFFFFFF; }
/* 4.5: of a waiting word */
#define WATCHED (UINT64_C(1) << 31)
static u64 waiters(u64 word) { return word & (WATCHED - 1); }

/* 4.5: where the words of a channel are, in its block */
enum { CHANGES = 0, ITEMS_WAITING = 8, SPACE_WAITING = 16, ORPHANS = 32, SCANNED = 40 };
enum { ITEMS_STRUCK = 48, SPACE_STRUCK = 56, WATCHERS = 64, WATCHES = 32, CALLED = 48 };
enum { PUBLISHERS_USED = 640, RELIABLE_USED = 648 };
enum { SENDERS_JOINED = 128, RECEIVERS_JOINED = 136 };
enum { TAIL = 256, PRODUCER = 264, HEAD = 384, CONSUMER = 392, TAKER = 400, MARKS = 408 };
enum { ROWS = 1024, ROW = 64 };
static void full_fence(void) { atomic_thread_fence(memory_order_seq_cst); }

/* 2 */

static u64 fnv(u64 hash, const void *bytes, size_t n)
{
    for (const unsigned char *byte = bytes; n > 0; n--)
        hash = (hash ^ *byte++) * UINT64_C(0x100000001B3);
    return hash;
}
#define FNV UINT64_C(0xCBF29CE484222325)

static key_t key_of(const char *name, unsigned char probe)
{
    u64 h = fnv(fnv(fnv(FNV, "tombolo:", 8), name, strlen(name)), &probe, 1);
    h = ((h >> 32) ^ h) & 0x7FFFFFFF;
    return h ? (key_t)h : 1;
}

static u64 fingerprint(const char *schema, u64 size, u64 alignment)
{
    u64 numbers[2] = { size, alignment };
    return fnv(fnv(FNV, schema, strlen(schema) + 1), numbers, 16);
}

/* 5: one semop; false for EAGAIN */

union semun { int val; struct semid_ds *buf; unsigned short *array; };

static bool semops(struct sembuf *ops, size_t n, const struct timespec *timeout)
{
    while (semtimedop(set, ops, n, timeout) < 0)
        if (errno == EAGAIN || errno == ERANGE)
            return false;
        else if (errno == EIDRM || errno == EINVAL) {
            puts("Closed");
            exit(0);
        } else if (errno != EINTR)
            fail("semop");
    return true;
}
#define OPS(...)                                                                                   \
    semops((struct sembuf[]){ __VA_ARGS__ },                                                       \
           sizeof((struct sembuf[]){ __VA_ARGS__ }) / sizeof(struct sembuf), NULL)

static bool read_values(void)
{
    if (semctl(set, 0, GETALL, (union semun){ .array = values }) < 0)
        return false;
    if (values[BUILT] != 1)
        return false;
    u64 spelled = 0;
    for (int k = 0; k < 4; k++) {
        if (values[GENERATION + k] < 1 || values[GENERATION + k] > 16384)
            return false;
        spelled |= (u64)(values[GENERATION + k] - 1) << (14 * k);
    }
    generation = spelled;
    return values[CHECK] == 1 + ((spelled * UINT64_C(0x9E3779B97F4A7C15)) >> 50);
}

/* 17.1: finding; the lease is held if it is found */

static bool attach_key(key_t key, const char *name)
{
    struct semid_ds of;
    struct shmid_ds stat;
    if ((set = semget(key, 0, 0)) < 0)
        return false;
    if (semctl(set, 0, IPC_STAT, (union semun){ .buf = &of }) < 0 || of.sem_nsems % 16 != 13)
        return false;
    count = of.sem_nsems;
    if (!(values = realloc(values, count * sizeof *values)) || !read_values())
        return false;
    struct sembuf take[] = { { LEASE, 0, 0 }, { LEASE, 1, UNDO } };
    if (!semops(take, 2, &(struct timespec){ .tv_sec = 10 }))
        fail("the lease is not to be had");
    shm = shmget(key, 0, 0);
    if (shm >= 0 && shmctl(shm, IPC_STAT, &stat) == 0 && !(stat.shm_perm.mode & SHM_DEST)
        && stat.shm_segsz % 4096 == 1803 && stat.shm_segsz > 512
        && (base = shmat(shm, NULL, 0)) != (char *)-1) {
        size = stat.shm_segsz;
        char said[121] = { 0 };
        u64 length = relaxed(128);
        if (acquire(8) == UINT64_C(0x006F6C6F626D6F74) && relaxed(40) == (u64)set
            && read_values() && relaxed(32) == generation && length <= 120) {
            memcpy(said, base + 136, length);
            if (length == strlen(name) && strcmp(said, name) == 0)
                return true;
        }
        shmdt(base);
    }
    OPS({ LEASE, -1, UNDO | NOWAIT });
    return false;
}

/* 17.2: joining */

static u64 lives(u64 i) { return acquire(512 + 8 * i); }

/* 8.2, step 3: a death credit */
static void credit(unsigned short w)
{
    while (!OPS({ w, 1, 0 }, { w, -1, UNDO }) && !OPS({ w, -1, UNDO | NOWAIT }, { w, 1, 0 }))
        ;
}

static u64 start_time(void)
{
    char stat[1024] = { 0 };
    FILE *file = fopen("/proc/self/stat", "r");
    if (!file)
        return 0;
    size_t n = fread(stat, 1, sizeof stat - 1, file);
    fclose(file);
    char *at = n ? strrchr(stat, ')') : NULL;
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at, NULL, 10) : 0;
}

static void join(void)
{
    P = relaxed(56), C = relaxed(64), flags = relaxed(48);
    if (relaxed(16) != 2 || flags & ~UINT64_C(15) || relaxed(24) != size || P < 1 || P > 8192 || C < 1 || C > 4096)
        fail("the header");
    infos = up(512 + 8 * P, 128);
    directory = up(infos + 128 * P, 128) + 128 * 128;
    heap = up(directory + 512 * C, 4096);
    u64 used = 8 + P + 2 * C + (flags & 8 ? P : 0);
    if (heap > size || count != used + (29 - used % 16) % 16)
        fail("the shape");
    credit(WAKE_ALL);
    if (read_values() && values[WAKE_ALL] >= 8192)
        OPS({ WAKE_ALL, (short)(1 - values[WAKE_ALL]), NOWAIT });
    for (u64 i = 0; i < P; i++) {
        u64 free = lives(i);
        unsigned short live = (unsigned short)(8 + i);
        if (low(free) != FREE_SLOT || !OPS({ live, 0, NOWAIT }, { live, 1, UNDO }))
            continue;
        me = i, incarnation = (free >> 32) == 0xFFFFFFFF ? 1 : (free >> 32) + 1;
        struct stat namespace = { 0 };
        stat("/proc/self/ns/pid", &namespace);
        u64 info = infos + 128 * i;
        u64 said[4] = { (u64)getpid(), start_time(), namespace.st_ino, geteuid() };
        for (int n = 0; n < 4; n++)
            release(info + 8 * n, said[n]);
        u64 deaths = low(relaxed(info + 32)) >> 1;
        release(info + 32, of_life(incarnation, deaths << 1));
        /* It never sweeps, so it knows all kinds. */
        release(info + 40, ~UINT64_C(0));
        for (u64 at = 48; at < 128; at += 8)
            release(info + at, 0);
        release(512 + 8 * i, of_life(incarnation, LIVE));
        OPS({ LEASE, -1, UNDO | NOWAIT });
        return;
    }
    fail("no slot is free");
}

/* 17.3: a channel */

static struct {
    int kind, side;
    u64 c, at, S, stride, element, attempts, row;
    unsigned short items, space;
    bool lasting, open;
    /* 8.4 */
    u64 joined, seen;
    bool met, alone, paused, sends_no_more, over;
    /* SPSC: head or tail. MPMC, broadcast: the cursor. */
    u64 position;
    /* Broadcast (4.5, 4.6): sizes, and where entries and buffers are. */
    u64 N, step, K, Q, B, words, buffers;
    int bits;
    /* Whether publishers wait for this subscriber; this end's entry, and its number. */
    bool reliable;
    u64 entry, number;
    /* A publisher's turn and spare buffer, and the limit that it saw last. */
    u64 turn, spare, limit;
} ch;

static u64 slots(void) { return up(ROWS + ROW * P, 128); }
static u64 slot(u64 position) { return ch.at + slots() + ch.stride * (position % ch.S); }

static const char *find_channel(const char *name, int kind)
{
    const char *why = "NotFound";
    OPS({ LEASE, 0, 0 }, { LEASE, 1, UNDO });
    for (u64 c = 0; c < C; c++) {
        u64 entry = directory + 512 * c, length = 0;
        if (acquire(entry) != 1 || (length = relaxed(entry + 128)) != strlen(name)
            || length > 64 || memcmp(base + entry + 136, name, length) != 0)
            continue;
        why = "Mismatch";
        ch.kind = kind, ch.at = relaxed(entry + 48), ch.S = ch.N = relaxed(entry + 40);
        ch.stride = kind == MPMC ? 16 : 8, ch.element = kind == MPMC ? 8 : 0;
        if (ch.N < 1 || ch.N > UINT64_C(1) << (kind == BROADCAST ? 30 : 31))
            break;
        u64 end = up(slots() + ch.stride * ch.S, 128);
        if (kind == BROADCAST) {
            ch.K = relaxed(entry + 72), ch.Q = relaxed(entry + 80);
            if (ch.K < 1 || ch.K > 1024 || ch.Q > 1024)
                break;
            ch.step = ch.N < 8 ? ch.N : ch.N / 8 < 8 ? 8 : ch.N / 8;
            ch.S = ch.N + 2 * ch.step, ch.B = ch.S + ch.K;
            /* The buffer's, and gap. */
            for (ch.bits = 1; (ch.B - 1) >> (ch.bits - 1); ch.bits++)
                ;
            u64 words = up(slots() + 8 * ch.S, 128), buffers = words + 128 * (ch.K + ch.Q);
            ch.words = ch.at + words, ch.buffers = ch.at + buffers;
            end = up(buffers + 8 * ch.B, 128);
        }
        ch.attempts = relaxed(entry + 56) < 15 ? relaxed(entry + 56) : 15;
        ch.lasting = relaxed(entry + 64) & 1;
        ch.c = c, ch.items = (unsigned short)(8 + P + 2 * c), ch.space = ch.items + 1;
        ch.row = ch.at + ROWS + ROW * me;
        bool same = relaxed(entry + 8) == (u64)kind && relaxed(entry + 16) == 8
                    && relaxed(entry + 24) == 8 && relaxed(entry + 32) == fingerprint("u64", 8, 8);
        if (same && ch.at >= heap && ch.at % 128 == 0 && ch.at <= size && end <= size - ch.at)
            why = NULL;
        break;
    }
    OPS({ LEASE, -1, UNDO | NOWAIT });
    return why;
}

/* 8.4: whether a living participant has an endpoint of a side */
static bool has_peer(int side)
{
    for (u64 i = 0; i < P; i++) {
        u64 w = lives(i), row = acquire(ch.at + ROWS + ROW * i);
        if (low(w) == LIVE && row >> 32 == w >> 32
            && (row >> (side == SENDER ? 16 : 0) & 0xFFFF))
            return true;
    }
    return false;
}

/* 11.1 */
static void post(unsigned short w) { OPS({ w, 0, NOWAIT }, { w, 1, NOWAIT }); }

/* 11.4 */
static void strike(unsigned short w)
{
    if (!OPS({ w, 1, 0 }))
        OPS({ w, -8192, NOWAIT });
}

/* 11.6 */
static void call_watchers(u64 waiting, u64 topic)
{
    full_fence();
    u64 seen = acquire(waiting), some = relaxed(ch.at + WATCHERS);
    if (!(seen & WATCHED) || !(flags & 8))
        return;
    for (u64 i = 0; i < P; i++) {
        u64 row = relaxed(ch.at + ROWS + ROW * i + WATCHES);
        if (!(some >> i % 64 & 1) || !(row & topic) || lives(i) != of_life(row >> 32, LIVE))
            continue;
        u64 called = infos + 128 * i + CALLED + 8 * (ch.c / 64 % 8);
        atomic_fetch_or_explicit(word(called), UINT64_C(1) << ch.c % 64, memory_order_relaxed);
        strike((unsigned short)(8 + P + 2 * C + i));
    }
    swap(waiting, seen, seen & ~WATCHED);
}

static void notify(unsigned short w)
{
    u64 waiting = ch.at + (w == ch.items ? ITEMS_WAITING : SPACE_WAITING);
    full_fence();
    u64 now = relaxed(waiting);
    if (now & WATCHED)
        call_watchers(waiting, w == ch.items ? 1 : 2);
    if (!waiters(now))
        return;
    if (ch.kind != BROADCAST) {
        post(w);
        return;
    }
    full_fence();
    u64 seen = relaxed(waiting), struck = ch.at + (w == ch.items ? ITEMS_STRUCK : SPACE_STRUCK);
    if (!waiters(seen) || acquire(struck) == seen >> 32)
        return;
    strike(w);
    release(struck, seen >> 32);
}

static u64 joined_at(int side) { return ch.at + (side == SENDER ? SENDERS_JOINED : RECEIVERS_JOINED); }
static u64 role_at(void) { return ch.at + (ch.side == SENDER ? PRODUCER : CONSUMER); }
static u64 role(void) { return of_life(incarnation, me); }

static void show(bool here)
{
    u64 one = here ? (ch.side == SENDER ? UINT64_C(1) << 16 : 1) : 0;
    release(ch.row, of_life(incarnation, one));
}

static void disarm(void)
{
    unsigned short both[] = { ch.items, ch.space };
    for (int n = 0; ch.kind == BROADCAST && n < 2; n++)
        while (!OPS({ both[n], 1, UNDO }))
            OPS({ both[n], -8192, NOWAIT });
    for (int n = 0; ch.kind != BROADCAST && n < 2; n++)
        while (!OPS({ both[n], -1, NOWAIT }, { both[n], 1, UNDO })
               && !OPS({ both[n], 0, NOWAIT }, { both[n], 1, UNDO }))
            ;
}

/* Whether a holder's word leaves its role to others. */
static bool is_vacant(u64 held)
{
    u64 i = held & 0xFFFF;
    if (!held || i >= P)
        return true;
    u64 w = lives(i);
    return w >> 32 != held >> 32 || (low(w) != LIVE && low(w) != DEAD);
}

static bool take_role(void)
{
    for (;;) {
        u64 held = acquire(role_at());
        if (!is_vacant(held))
            return false;
        if (swap(role_at(), held, role()))
            return true;
    }
}

/* 9.3: taking up the role of the consumer */
static u64 mark_at(int n) { return ch.at + MARKS + 8 * (u64)n; }

static void take_mark(void)
{
    u64 head = acquire(ch.at + HEAD), filled = acquire(ch.at + TAIL) - head, reach[16], dropped = 0;
    for (int n = 0; n < 16; n++) {
        reach[n] = relaxed(mark_at(n)) - head;
        if (reach[n] > filled)
            reach[n] = 0;
    }
    /* The (A + 1)-th largest: the largest that more than A marks reach. */
    for (int n = 0; n < 16; n++) {
        u64 as_far = 0;
        for (int k = 0; k < 16; k++)
            as_far += reach[k] >= reach[n];
        if (as_far > ch.attempts && reach[n] > dropped)
            dropped = reach[n];
    }
    int mine = 0;
    while (reach[mine] > dropped)
        mine++;
    if (dropped) {
        release(ch.at + HEAD, head + dropped);
        notify(ch.space);
    }
    ch.position = head + dropped;
    release(ch.at + TAKER, of_life(incarnation, (u64)mine << 16 | me));
}

/* 4.6: the words of a broadcast ring */

#define GAP (UINT64_C(1) << (ch.bits - 1))
static u64 turn_of(u64 w) { return w >> ch.bits; }
static u64 turn_at(u64 position) { return position / ch.S + 1; }
static int64_t turns_after(u64 w, u64 turn)
{
    return (int64_t)((turn_of(w) - turn) << ch.bits) >> ch.bits;
}
static u64 buffer_of(u64 place, u64 w)
{
    return ((w & (GAP - 1)) + place) % ch.B;
}
static u64 place_word(u64 place, u64 turn, u64 buffer)
{
    return turn << ch.bits | (buffer + ch.B - place) % ch.B;
}
static u64 publisher_at(u64 n) { return ch.words + 128 * n; }
static u64 reliable_at(u64 k) { return ch.words + 128 * (ch.K + k); }
static u64 buffer_at(u64 buffer) { return ch.buffers + 8 * buffer; }
enum { WORD = 8, HELPED = 16, AT = 24, OVER = 32, POSITION = 8 };
#define JOINING (UINT64_C(1) << 31)

/* 10.5 */

static u64 least(u64 a, u64 b) { return a < b ? a : b; }
static u64 below(u64 position, u64 by) { return position > by ? position - by : 0; }

static u64 first_unpublished(void)
{
    u64 limit = acquire(ch.at + TAIL), low = below(limit, ch.step), high = limit;
    while (low < high) {
        u64 middle = low + (high - low) / 2;
        if (turns_after(acquire(slot(middle)), turn_at(middle)) < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void renew(u64 n)
{
    u64 helped = acquire(publisher_at(n) + HELPED), w = acquire(publisher_at(n) + WORD);
    if (turns_after(helped, turn_of(w)) < -(INT64_C(1) << (62 - ch.bits)))
        swap(publisher_at(n) + HELPED, helped, w);
}

static void complete(u64 n)
{
    u64 entry = publisher_at(n), w = acquire(entry + WORD), at = relaxed(entry + AT);
    if ((acquire(slot(at)) & ~GAP) != place_word(at % ch.S, turn_at(at), buffer_of(ch.S + n, w))) {
        renew(n);
        return;
    }
    u64 turn = turn_of(w) + 1, to = place_word(ch.S + n, turn, relaxed(entry + OVER) % ch.B);
    for (;;) {
        u64 helped = acquire(entry + HELPED);
        if (relaxed(entry + WORD) != w || turns_after(helped, turn) >= 0)
            return;
        if (swap(entry + HELPED, helped, to))
            return;
    }
}

/* Whether there was one of these entries. */
static bool take_entry(u64 first, u64 entries, u64 used, u64 mine)
{
    for (u64 n = 0; n < entries; n++) {
        u64 entry = first + 128 * n, held = acquire(entry), seen;
        if (!is_vacant(held))
            continue;
        while ((seen = relaxed(used)) < n + 1 && !swap(used, seen, n + 1))
            ;
        if (swap(entry, held, mine)) {
            ch.entry = entry, ch.number = n;
            return true;
        }
    }
    return false;
}

static const char *take_place(void)
{
    if (ch.side == SENDER) {
        if (!take_entry(publisher_at(0), ch.K, ch.at + PUBLISHERS_USED, role()))
            return "TooMany publishers";
        complete(ch.number);
        u64 w = acquire(ch.entry + WORD), helped = acquire(ch.entry + HELPED);
        if (turns_after(helped, turn_of(w)) > 0)
            w = helped;
        release(ch.entry + WORD, w);
        atomic_thread_fence(memory_order_release);
        ch.turn = turn_of(w), ch.spare = buffer_of(ch.S + ch.number, w);
        ch.limit = acquire(ch.at + TAIL), ch.position = below(ch.limit, ch.step);
    } else if (ch.reliable) {
        if (!take_entry(reliable_at(0), ch.Q, ch.at + RELIABLE_USED, role() | JOINING))
            return "TooMany reliable subscribers";
        ch.position = first_unpublished();
        release(ch.entry + POSITION, ch.position);
        release(ch.entry, role());
        full_fence();
        u64 safe = below(acquire(ch.at + TAIL) + ch.step, ch.S);
        if (ch.position < safe)
            release(ch.entry + POSITION, ch.position = safe);
    } else
        ch.position = first_unpublished();
    return NULL;
}

/* Whether the limit is beyond the position, or could be raised. */
static bool has_room(void)
{
    for (;;) {
        u64 p = ch.position, to = p + ch.step, used;
        ch.limit = acquire(ch.at + TAIL);
        if (ch.limit != p)
            return ch.limit > p;
        full_fence();
        used = least(relaxed(ch.at + RELIABLE_USED), ch.Q);
        for (u64 k = 0; k < used; k++) {
            u64 held = acquire(reliable_at(k)), i = held & 0xFFFF;
            if (held && !(held & JOINING) && i < P && lives(i) == of_life(held >> 32, LIVE))
                to = least(to, least(acquire(reliable_at(k) + POSITION), p) + ch.N);
        }
        if (to == p)
            return false;
        used = least(relaxed(ch.at + PUBLISHERS_USED), ch.K);
        for (u64 n = 0; n < used; n++)
            if (n != ch.number)
                complete(n);
        renew(ch.number);
        if (swap(ch.at + TAIL, p, to)) {
            ch.limit = to;
            return true;
        }
    }
}

static int publish(u64 message)
{
    atomic_store_explicit(word(buffer_at(ch.spare)), message, memory_order_relaxed);
    for (;;) {
        u64 p = ch.position, w;
        if (p >= ch.limit && !has_room())
            return NOTHING;
        w = acquire(slot(p));
        int64_t turns = turns_after(w, turn_at(p)) + 1;
        if (turns < 0)
            fail("a slot's turn");
        if (turns > 0) {
            ch.position += (u64)(turns - 1) * ch.S + 1;
            continue;
        }
        u64 over = buffer_of(p % ch.S, w);
        atomic_store_explicit(word(ch.entry + OVER), over, memory_order_relaxed);
        atomic_store_explicit(word(ch.entry + AT), p, memory_order_relaxed);
        if (!swap(slot(p), w, place_word(p % ch.S, turn_at(p), ch.spare)))
            continue;
        ch.turn++, ch.position++, ch.spare = over;
        release(ch.entry + WORD, place_word(ch.S + ch.number, ch.turn, over));
        atomic_thread_fence(memory_order_release);
        return DONE;
    }
}

static const char *ended;

static int read_next(u64 *message)
{
    static char lagged[32];
    for (;;) {
        u64 p = ch.position, w = acquire(slot(p));
        int64_t turns = turns_after(w, turn_at(p));
        if (turns == -1)
            return NOTHING;
        if (turns > 0 && !ch.reliable) {
            ch.position = acquire(ch.at + TAIL) - ch.S;
            snprintf(lagged, sizeof lagged, "Lagged %" PRIu64, ch.position - p);
            return ended = lagged, DONE;
        }
        if (turns != 0)
            fail("a slot's turn");
        *message = relaxed(buffer_at(buffer_of(p % ch.S, w)));
        atomic_thread_fence(memory_order_acquire);
        if (relaxed(slot(p)) != w)
            continue;
        ch.position++;
        if (ch.reliable)
            release(ch.entry + POSITION, ch.position);
        if (w & GAP) {
            snprintf(lagged, sizeof lagged, "Lagged %" PRIu64, *message);
            ended = lagged;
        }
        return DONE;
    }
}

static bool waits_for_me(void);

static const char *open_end(const char *name, int kind, int side, bool reliable)
{
    const char *why = find_channel(name, kind);
    if (why)
        return why;
    ch.side = side, ch.reliable = reliable, ch.entry = 0;
    ch.joined = acquire(joined_at(!side));
    ch.met = has_peer(!side);
    for (int n = 1; n <= 3; n++)
        release(ch.row + 8 * (u64)n, of_life(incarnation, 0));
    for (u64 at = 32; at < ROW; at += 8)
        release(ch.row + at, 0);
    show(false);
    credit(ch.items);
    credit(ch.space);
    if (kind == SPSC && !take_role()) {
        disarm();
        return "RoleTaken";
    }
    if (kind == BROADCAST && (why = take_place())) {
        disarm();
        return why;
    }
    show(true);
    add(joined_at(side), 1);
    add(ch.at + CHANGES, 1);
    full_fence();
    if (kind != BROADCAST)
        ch.position = acquire(ch.at + (side == SENDER ? TAIL : HEAD));
    else if (side == RECEIVER)
        notify(ch.space);
    if (side == RECEIVER && kind == SPSC)
        take_mark();
    if (side == RECEIVER && waits_for_me())
        ch.met = true;
    ch.seen = relaxed(ch.at + CHANGES) - 1;
    ch.open = true;
    return NULL;
}

/* 8.4, 14.1: before every operation */
static void check(void)
{
    u64 changes = acquire(ch.at + CHANGES);
    if (changes == ch.seen)
        return;
    ch.seen = changes;
    u64 gate = acquire(256);
    ch.over = gate & (1 | 1 << 4);
    ch.sends_no_more = gate & (1 << 2 | 1 << 3);
    ch.paused = gate & 1 << 1 && !ch.sends_no_more && !ch.over;
    bool came = ch.met || acquire(joined_at(!ch.side)) != ch.joined;
    ch.alone = (came && !ch.lasting && !has_peer(!ch.side)) || (ch.side == RECEIVER && gate & 1 << 3);
}

/* 9.1 */

static int try_spsc(u64 *message)
{
    u64 head = ch.side == SENDER ? acquire(ch.at + HEAD) : ch.position;
    u64 tail = ch.side == SENDER ? ch.position : acquire(ch.at + TAIL);
    if (tail - head > ch.S)
        fail("head and tail");
    if (tail - head == (ch.side == SENDER ? ch.S : 0))
        return NOTHING;
    void *element = base + slot(ch.position);
    if (ch.side == SENDER)
        memcpy(element, message, 8);
    else
        memcpy(message, element, 8);
    release(ch.at + (ch.side == SENDER ? TAIL : HEAD), ++ch.position);
    return DONE;
}

/* 10.1, 10.2 */

static u64 slot_word(u64 lap, u64 attempts, u64 phase, u64 owner)
{
    return lap << 20 | attempts << 16 | phase << 13 | owner;
}

/* A step of the table: goes on (true), or ends with a verdict. */
static bool step(u64 w, u64 *lap, bool *claim, int *verdict)
{
    u64 phase = w >> 13 & 7;
    *lap = ch.position / ch.S;
    int64_t d = (int64_t)(((w >> 20) - *lap) << 20) >> 20;
    *claim = false;
    *verdict = NOTHING;
    if (phase > ORPHAN)
        fail("a slot's phase");
    if (d == 0 && phase == (ch.side == SENDER ? FREE : FULL)) {
        *claim = true;
        return true;
    }
    if (ch.side == SENDER) {
        if (d == -1 && phase != FREE)
            return false;
    } else {
        if (d == 0 && phase == WRITING) {
            *verdict = PENDING;
            return false;
        }
        if ((d == 0 && phase == FREE) || (d == -1 && (phase == READING || phase == ORPHAN)))
            return false;
    }
    int64_t back = ch.side == RECEIVER && phase == FREE && d >= 2 ? 2 : 1;
    ch.position += d == 0 ? 1 : d < 0 ? (u64)d * ch.S : (u64)(d - back) * ch.S + 1;
    return true;
}

/* Whether a position is claimed and not taken, for 8.2, step 8. */
static bool waits_for_me(void)
{
    if (ch.kind == SPSC)
        return acquire(ch.at + TAIL) != acquire(ch.at + HEAD);
    if (ch.kind == BROADCAST)
        return turns_after(acquire(slot(ch.position)), turn_at(ch.position)) >= 0;
    u64 was = ch.position, lap;
    bool claim;
    int verdict;
    do {
        if (!step(acquire(slot(ch.position)), &lap, &claim, &verdict))
            break;
    } while (!claim);
    ch.position = was;
    return claim || verdict == PENDING;
}

static void passed(void)
{
    u64 position = ch.position++, bound = ch.at + (ch.side == SENDER ? TAIL : HEAD);
    u64 seen = relaxed(bound);
    if (position % 16 == 0 && seen < position)
        swap(bound, seen, position);
}

static bool take_orphan(u64 *message)
{
    u64 orphans = acquire(ch.at + ORPHANS);
    if (orphans == relaxed(ch.at + SCANNED))
        return false;
    for (u64 n = 0; n < ch.S; n++) {
        u64 w = acquire(slot(n));
        if ((w >> 13 & 7) == ORPHAN
            && swap(slot(n), w, slot_word(w >> 20, w >> 16 & 15, READING, me))) {
            memcpy(message, base + slot(n) + ch.element, 8);
            release(slot(n), slot_word((w >> 20) + 1, 0, FREE, 0));
            return true;
        }
    }
    u64 scanned = relaxed(ch.at + SCANNED);
    if (scanned < orphans)
        swap(ch.at + SCANNED, scanned, orphans);
    return false;
}

static int try_mpmc(u64 *message)
{
    if (ch.side == RECEIVER && take_orphan(message))
        return DONE;
    for (;;) {
        u64 at = slot(ch.position), w = acquire(at), lap;
        bool claim;
        int verdict;
        if (!step(w, &lap, &claim, &verdict))
            return verdict;
        if (!claim)
            continue;
        u64 mine = ch.side == SENDER ? slot_word(lap, 0, WRITING, me)
                                     : slot_word(lap, w >> 16 & 15, READING, me);
        if (!swap(at, w, mine))
            continue;
        passed();
        if (ch.side == SENDER) {
            memcpy(base + at + ch.element, message, 8);
            release(at, slot_word(lap, 0, FULL, 0));
        } else {
            memcpy(message, base + at + ch.element, 8);
            release(at, slot_word(lap + 1, 0, FREE, 0));
        }
        return DONE;
    }
}

static bool in_hand(void)
{
    for (u64 n = 0; ch.kind == MPMC && n < ch.S; n++) {
        u64 phase = acquire(slot(n)) >> 13 & 7;
        if (phase == READING || phase == ORPHAN)
            return true;
    }
    return false;
}

/* One try: NULL in `ended`, or why there will be no other. */
static int try(u64 *message)
{
    check();
    if (ch.over)
        return ended = "Closed", DONE;
    bool deserted = ch.alone && ch.kind != BROADCAST;
    if (ch.side == SENDER && (ch.sends_no_more || deserted))
        return ended = deserted ? "Disconnected receiver" : "Drained", DONE;
    if (ch.side == SENDER && ch.paused)
        return NOTHING;
    bool alone = ch.alone;
    int got = ch.kind == SPSC ? try_spsc(message) : ch.kind == MPMC ? try_mpmc(message)
              : ch.side == SENDER ? publish(*message) : read_next(message);
    if (got == DONE && ch.kind == BROADCAST) {
        if (ch.side == SENDER || ch.reliable)
            notify(ch.side == SENDER ? ch.items : ch.space);
        return DONE;
    }
    if (got == DONE) {
        notify(ch.side == SENDER ? ch.items : ch.space);
        if (ch.side == RECEIVER && (acquire(ch.at + CHANGES) != ch.seen || ch.alone))
            notify(ch.items);
        return DONE;
    }
    if (got == NOTHING && ch.side == RECEIVER && alone && !in_hand())
        return ended = "Disconnected sender", DONE;
    return NOTHING;
}

/* 17.5: is there one who has died? */
static bool death(void)
{
    u64 *before = malloc(P * sizeof *before), mine = generation;
    if (!before)
        fail("malloc");
    for (u64 i = 0; i < P; i++)
        before[i] = lives(i);
    if (!read_values() || generation != mine || values[8 + me] != 1) {
        puts("Closed");
        exit(0);
    }
    bool found = false;
    for (u64 i = 0; i < P; i++)
        found |= low(before[i]) == DEAD || (low(before[i]) == LIVE && values[8 + i] == 0);
    free(before);
    return found;
}

static void nap(void) { nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL); }

/* 6: for who sleeps */
static void heavy_fence(void)
{
    if (!(flags & 1) && syscall(SYS_membarrier, 2 /* GLOBAL_EXPEDITED */, 0, 0) < 0)
        fail("membarrier");
    full_fence();
}

/* 11.2, steps 7 and 8 */
static void lower(u64 waiting, u64 record)
{
    for (u64 seen = relaxed(waiting);;) {
        u64 left = low(seen) - (waiters(seen) ? 1 : 0);
        if (swap(waiting, seen, ((seen >> 32) + 1) << 32 | left))
            break;
        seen = relaxed(waiting);
    }
    for (u64 seen = relaxed(record); low(seen); seen = relaxed(record))
        if (swap(record, seen, seen - 1))
            break;
}

/* 11.4, step 1: the bell's value in a look that has heard something */
static unsigned short listen_to(unsigned short w)
{
    u64 *before = malloc(P * sizeof *before), mine = generation;
    if (!before)
        fail("malloc");
    for (bool heard = false; !heard;) {
        for (u64 i = 0; i < P; i++)
            before[i] = lives(i);
        if (!read_values() || generation != mine || values[8 + me] != 1) {
            puts("Closed");
            exit(0);
        }
        heard = true;
        for (u64 i = 0; i < P; i++)
            heard &= lives(i) == before[i];
    }
    free(before);
    unsigned short value = values[w];
    if (value >= 8192)
        OPS({ w, (short)(1 - value), NOWAIT });
    return value;
}

/* 11.4, step 4 */
static bool sleep_over(unsigned short w, unsigned short heard, const struct timespec *timeout)
{
    struct sembuf ops[] = { { w, (short)-heard, NOWAIT }, { w, -1, 0 }, { w, (short)(heard + 1), 0 } };
    return heard ? semops(ops, 3, timeout) : semops(ops + 1, 2, timeout);
}

static void wait_for_bell(u64 *message, unsigned short w, u64 waiting, u64 record)
{
    for (int done = try(message); done != DONE;) {
        unsigned short heard = listen_to(w);
        add(record, 1);
        add(waiting, (UINT64_C(1) << 32) + 1);
        heavy_fence();
        if ((done = try(message)) != DONE) {
            const struct timespec soon = { .tv_nsec = 10000000 };
            bool woken = sleep_over(w, heard, flags & 1 ? NULL : &soon);
            if ((done = try(message)) != DONE && !woken) {
                sleep_over(w, heard, NULL);
                done = try(message);
            }
        }
        lower(waiting, record);
    }
}

/* 11.2, and 17.5 for what a client does that never sweeps */
static void wait_for(u64 *message)
{
    unsigned short w = ch.side == SENDER ? ch.space : ch.items;
    u64 waiting = ch.at + (ch.side == SENDER ? SPACE_WAITING : ITEMS_WAITING);
    u64 record = ch.row + (ch.side == SENDER ? 16 : 8);
    if (ch.kind == BROADCAST) {
        wait_for_bell(message, w, waiting, record);
        return;
    }
    while (try(message) != DONE) {
        if (death()) {
            nap();
            continue;
        }
        add(record, 1);
        add(waiting, (UINT64_C(1) << 32) + 1);
        heavy_fence();
        bool token = false;
        int done = try(message);
        if (done != DONE) {
            struct sembuf take = { w, -1, 0 };
            token = semops(&take, 1, flags & 1 ? NULL : &(struct timespec){ .tv_nsec = 10000000 });
            if (!token && (done = try(message)) != DONE)
                token = semops(&take, 1, NULL);
        }
        lower(waiting, record);
        if (done == DONE)
            return;
        if (token && death()) {
            /* It may be the death's: whoever sweeps has to get it. */
            post(w);
            continue;
        }
        if ((done = try(message)) == DONE) {
            notify(w);
            return;
        }
    }
}

/* 8.3 */
static void close_end(void)
{
    u64 mine = generation;
    if (!ch.open || !read_values() || generation != mine || values[8 + me] != 1)
        return;
    ch.open = false;
    if (ch.kind == BROADCAST && ch.entry)
        swap(ch.entry, role(), 0);
    show(false);
    if (ch.kind == SPSC)
        swap(role_at(), role(), 0);
    add(ch.at + CHANGES, 1);
    notify(ch.side == SENDER ? ch.items : ch.space);
    disarm();
}

/* 7.5 */
static void leave(void)
{
    swap(512 + 8 * me, of_life(incarnation, LIVE), of_life(incarnation, FREE_SLOT));
    OPS({ (unsigned short)(8 + me), -1, UNDO | NOWAIT }, { WAKE_ALL, 1, UNDO });
    shmdt(base);
}

/* A puppet: a command a line, an answer a line, as tests/format/python_client.py. */

static void act(const char *command, u64 from, u64 to)
{
    ended = NULL;
    u64 n = from;
    if (!strcmp(command, "send") || !strcmp(command, "send-all")) {
        for (; n < to && !ended; n++)
            wait_for(&(u64){ n });
        puts(ended ? ended : "sent");
    } else if (!strcmp(command, "try-send")) {
        int done = try(&n);
        puts(ended ? ended : done == DONE ? "sent" : "full");
    } else if (!strcmp(command, "recv") || !strcmp(command, "try-recv")) {
        int done = DONE;
        if (command[0] == 'r')
            wait_for(&n);
        else
            done = try(&n);
        if (!ended && done == DONE)
            printf("got %" PRIu64 "\n", n);
        else
            puts(ended ? ended : "nothing");
    } else if (!strcmp(command, "recv-all")) {
        for (u64 got = 0; n < to && !ended; n++) {
            wait_for(&got);
            if (!ended && got != n) {
                printf("%" PRIu64 " instead of %" PRIu64 "\n", got, n);
                return;
            }
        }
        puts(ended ? ended : "received");
    } else
        puts("what?");
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    bool found = false;
    for (unsigned char probe = 0; argc > 1 && probe < 8 && !found; probe++)
        found = attach_key(key_of(argv[1], probe), argv[1]);
    if (!found)
        fail("there is no such segment");
    join();
    puts("joined");
    char line[256], command[32], name[65], kind[16], side[16];
    while (fgets(line, sizeof line, stdin)) {
        u64 from = 0, to = 0;
        if (sscanf(line, "open %64s %15s %15s", name, kind, side) == 3) {
            int is = !strcmp(kind, "mpmc") ? MPMC : !strcmp(kind, "spsc") ? SPSC : BROADCAST;
            const char *why = open_end(name, is, strcmp(side, "sender") ? RECEIVER : SENDER,
                                       !strcmp(side, "receiver"));
            puts(why ? why : "open");
        } else if (!strncmp(line, "close", 5)) {
            close_end();
            puts("closed");
        } else if (!strncmp(line, "leave", 5)) {
            close_end();
            leave();
            puts("left");
        } else if (sscanf(line, "%31s %64s %" SCNu64 " %" SCNu64, command, name, &from, &to) >= 2)
            act(command, from, to ? to : from + 1);
    }
    return 0;
}
