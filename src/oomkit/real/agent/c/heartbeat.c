/* Heartbeats: processes that want to run every 10 ms, and note when they could not.
 *
 * "locked" has its memory locked and real-time priority: its gaps are times in which the kernel let
 * no process run. "ordinary" does every time what an interactive program does, take a little memory
 * and go over a little of its program: its gaps are what a user feels. "meter" is locked too, and
 * notes when memory and swap both fall under a share and when they come back. "service" is asked
 * twenty times a second, goes over a part of its memory and of its program for each request, and
 * notes those that it does not answer in time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

#define BEAT_S 0.01
#define GAP_S 0.03 /* beats further apart than this are noted */
#define FAR_S 0.05
#define NOTES 2000
#define PRIORITY 50
#define CHUNK (16 << 10)
#define REQUEST_S 0.05
#define ANSWER_S 0.1 /* a request that is not answered by then is given up */
#define SERVICE (16 << 20)
#define REQUEST (1 << 20)

struct note {
    double at, value;
};

/* What a lane passes to the watcher, through memory that both have, without waiting for it. */
struct notes {
    _Atomic double last;
    atomic_long count;
    struct note items[NOTES];
};

struct lane {
    const char *name;
    bool (*errand)(struct lane *lane, double *value); /* true: the value is noted */
    bool locked;
    double every_s;
    struct notes *notes;
    long reported;
};

static struct {
    int programs, meminfo;
    size_t size, at;
    double share;
    bool low;
    char *set; /* what the service has in memory */
    size_t request;
} errands;

static bool nothing(struct lane *lane, double *value) {
    (void)lane, (void)value;
    return false;
}

/* Take 16 kB and give it back; read the next 16 kB of the programs. */
static bool keystroke(struct lane *lane, double *value) {
    (void)lane, (void)value;
    char *scratch = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (scratch == MAP_FAILED) return false;
    for (size_t i = 0; i < CHUNK; i += PAGE) *(volatile char *)(scratch + i) = 0;
    if (errands.size && pread(errands.programs, scratch, CHUNK, (off_t)errands.at) >= 0)
        errands.at = (errands.at + CHUNK) % errands.size;
    munmap(scratch, CHUNK);
    return false;
}

static double share_of(const char *text, const char *part, const char *total) {
    long long all = keyed(text, total, 0);
    return (double)keyed(text, part, 0) / (double)(all ? all : 1);
}

/* Looks less often while low memory is far away. */
static bool meter(struct lane *lane, double *value) {
    static char text[4096];
    read_again(errands.meminfo, text, sizeof text);
    double left = share_of(text, "MemAvailable", "MemTotal"), swap = share_of(text, "SwapFree", "SwapTotal");
    if (swap > left) left = swap;
    lane->every_s = left > 2 * errands.share ? FAR_S : BEAT_S;
    bool low = left <= errands.share;
    if (low == errands.low) return false;
    errands.low = low;
    *value = low;
    return true;
}

static void answer(void) {
    static char text[4 * CHUNK];
    for (size_t i = 0; i < REQUEST; i += PAGE) (*(volatile char *)(errands.set + errands.request + i))++;
    errands.request = (errands.request + REQUEST) % SERVICE;
    if (errands.size && pread(errands.programs, text, sizeof text, (off_t)errands.at) >= 0)
        errands.at = (errands.at + sizeof text) % errands.size;
}

static struct lane lanes[] = {
    {.name = "locked", .errand = nothing, .locked = true, .every_s = BEAT_S},
    {.name = "meter", .errand = meter, .locked = true, .every_s = BEAT_S},
    {.name = "ordinary", .errand = keystroke, .every_s = BEAT_S},
    {.name = "service", .every_s = REQUEST_S},
};
#define LANES (sizeof lanes / sizeof *lanes)

static bool serves(const struct lane *lane) { return lane->errand == NULL; }

static bool notes_gaps(const struct lane *lane) { return !serves(lane) && lane->errand != meter; }

static void become(struct lane *lane) {
    char name[16];
    snprintf(name, sizeof name, "beat-%s", lane->name);
    write_file_text("/proc/self/comm", name);
    if (!lane->locked) return;
    mlockall(MCL_CURRENT | MCL_FUTURE);
    struct sched_param priority = {.sched_priority = PRIORITY};
    sched_setscheduler(0, SCHED_FIFO, &priority);
}

static void take_note(struct lane *lane, double at, double value) {
    long count = atomic_load(&lane->notes->count);
    if (count >= NOTES) return;
    lane->notes->items[count] = (struct note){at, value};
    atomic_store(&lane->notes->count, count + 1);
}

/* Answer each request from when it is due; "last" is when the last one was. */
static void serve(struct lane *lane) {
    errands.set = mmap(NULL, SERVICE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (errands.set == MAP_FAILED) _exit(1); /* and no request is answered */
    for (double due = atomic_load(&lane->notes->last) + REQUEST_S;; due += REQUEST_S) {
        rest_s(due - now_s());
        if (now_s() <= due + ANSWER_S) answer();
        double late = now_s() - due;
        if (late > ANSWER_S) take_note(lane, due, late);
        atomic_store(&lane->notes->last, due);
    }
}

static void beat(struct lane *lane) {
    double last = now_s(), due = last;
    while (true) {
        due = due + lane->every_s > last ? due + lane->every_s : last;
        rest_s(due - now_s());
        double value = 0;
        bool noted = lane->errand(lane, &value);
        double now = now_s();
        if (notes_gaps(lane) && now - last > GAP_S) {
            value = now - last;
            noted = true;
        }
        last = now;
        if (noted) take_note(lane, now, value);
        atomic_store(&lane->notes->last, now);
    }
}

void lanes_begin(const char *programs, double low_share) {
    struct stat found;
    errands.share = low_share;
    errands.meminfo = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    if (*programs) {
        errands.programs = open(programs, O_RDONLY | O_CLOEXEC);
        if (fstat(errands.programs, &found) == 0) errands.size = (size_t)found.st_size;
    }
    for (size_t i = 0; i < LANES; i++) lanes[i].notes = lasting(sizeof *lanes[i].notes);
}

void lanes_start(void) {
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &lanes[i];
        if (lane->notes == NULL) return;
        atomic_store(&lane->notes->last, now_s());
        if (fork() == 0) {
            become(lane);
            if (serves(lane)) serve(lane);
            beat(lane);
        }
    }
}

void lanes_report(int report) {
    for (size_t i = 0; i < LANES; i++) {
        struct lane *lane = &lanes[i];
        if (lane->notes == NULL) return;
        long count = atomic_load(&lane->notes->count);
        for (; lane->reported < count; lane->reported++) {
            const struct note *note = &lane->notes->items[lane->reported];
            say(report, lane->name, "%.4f %.4f", note->at, note->value);
        }
    }
}

/* The rest, gaps that have not ended, and requests without an answer. */
void lanes_close(int report) {
    lanes_report(report);
    double now = now_s();
    for (size_t i = 0; i < LANES; i++) {
        if (lanes[i].notes == NULL) return;
        double last = atomic_load(&lanes[i].notes->last);
        if (notes_gaps(&lanes[i]) && now - last > GAP_S)
            say(report, lanes[i].name, "%.4f %.4f", now, now - last);
        if (!serves(&lanes[i])) continue;
        for (double due = last + REQUEST_S; now - due > ANSWER_S; due += REQUEST_S)
            say(report, lanes[i].name, "%.4f %.4f", due, now - due);
    }
}
