/* A task's memory: maps it, touches it at a pace, goes over it, gives it back. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

#define SLICE_S 0.01   /* paced steps proceed in slices of about this long */
#define BACKLOG_S 0.2  /* how much of a stall a paced step makes good; more is lost */
#define HUGE_PAGE ((size_t)2 << 20)
#define SMALL_STACK (64 << 10)
#define READ_CHUNK (128 << 10)
#define WRITE_CHUNK (64 << 10)

static size_t at_most(size_t a, size_t b) { return a < b ? a : b; }

void pace_begin(struct pace *pace, size_t total, double rate, size_t largest, size_t unit) {
    size_t slice = rate > 0 ? at_most(largest, (size_t)(rate * SLICE_S)) : largest;
    slice = slice / unit * unit;
    *pace = (struct pace){.total = total, .slice = slice > unit ? slice : unit, .rate = rate};
}

/* The next range of bytes, when its time has come; false: all was done. */
bool pace_next(struct pace *pace, size_t *start, size_t *end) {
    if (!pace->begun) {
        pace->begun = true;
        pace->due = now_s();
    } else if (pace->rate > 0) {
        double now = now_s(), due = pace->due + (double)(*end - *start) / pace->rate;
        pace->due = due > now - BACKLOG_S ? due : now - BACKLOG_S;
        rest_s(pace->due - now);
    }
    if (pace->at >= pace->total) return false;
    *start = pace->at;
    *end = pace->at = at_most(pace->at + pace->slice, pace->total);
    return true;
}

static int map_area(struct memory *memory, struct area *area, size_t size, int flags, bool anon,
                    int thp) {
    size = (size + PAGE - 1) / PAGE * PAGE;
    if (size < PAGE) size = PAGE;
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return errno;
    /* A kernel without huge pages says EINVAL, and has none. */
    if (thp != 1 && !(flags & MAP_LOCKED)) madvise(map, size, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    if (memory->count == memory->room) {
        size_t room = memory->room ? 2 * memory->room : 64;
        struct area *more = realloc(memory->areas, room * sizeof *more);
        if (more == NULL) {
            munmap(map, size);
            return ENOMEM;
        }
        memory->areas = more;
        memory->room = room;
    }
    *area = (struct area){.map = map, .size = size, .anon = anon};
    return 0;
}

void area_touch(struct memory *memory, struct area *area, size_t start, size_t end, size_t stride) {
    if (memory->filler && stride == PAGE) {
        for (size_t at = start; at < end; at += FILLER)
            memcpy(area->map + at, memory->filler, at_most(FILLER, end - at));
        return;
    }
    for (size_t at = start; at < end; at += stride) *(volatile char *)(area->map + at) = 1;
}

static int add(struct memory *memory, size_t size, int flags, bool anon) {
    struct area area;
    int error = map_area(memory, &area, size, flags, anon, memory->thp);
    if (!error) memory->areas[memory->count++] = area;
    return error;
}

int memory_reserve(struct memory *memory, size_t size, bool shared) {
    int error = add(memory, size, shared ? MAP_SHARED : MAP_PRIVATE, !shared);
    if (!error) memory->areas[memory->count - 1].shared = shared;
    return error;
}

/* How far a step has come in an area. */
static size_t come_to(const struct area *area, enum way way) {
    size_t at = area->used;
    if (way != PEEK) return at;
    if (at < area->seen) at = area->seen;
    return at < area->lazy ? area->lazy : at;
}

/* What was freed lazily is written to first, but for single pages. */
static bool is_spare(const struct area *area, enum way way, size_t stride, bool lazy) {
    if (come_to(area, way) >= area->size) return false;
    if (way == SHARE) return area->shared && !lazy;
    if (!area->anon) return false;
    return way == PEEK ? !lazy : (area->lazy > area->used) == lazy && !(lazy && stride != PAGE);
}

/* What was mapped before first, then new memory, mapped piece by piece as an allocator does. */
int memory_go_over(struct memory *memory, enum way way, size_t size, double rate, size_t stride,
                   struct progress to) {
    size_t piece = 16 * stride > MB ? 16 * stride : MB, start, end;
    size_t next = 0, old = memory->count, current = SIZE_MAX;
    struct pace pace;
    pace_begin(&pace, size, rate, piece, stride);
    while (pace_next(&pace, &start, &end)) {
        size_t left = end - start;
        while (left > 0) {
            if (current == SIZE_MAX || come_to(&memory->areas[current], way) >= memory->areas[current].size) {
                while (next < 2 * old && !is_spare(&memory->areas[next % old], way, stride, next < old)) next++;
                if (next < 2 * old) {
                    current = next++ % old;
                } else {
                    size_t length = at_most(piece, size - end + left);
                    int error = add(memory, length, way == SHARE ? MAP_SHARED : MAP_PRIVATE, way != SHARE);
                    if (error) return error;
                    current = memory->count - 1;
                }
            }
            struct area *area = &memory->areas[current];
            size_t from = come_to(area, way), stop = at_most(from + left, area->size);
            if (way == PEEK) {
                for (size_t at = from; at < stop; at += stride) (void)*(volatile char *)(area->map + at);
                area->seen = stop;
            } else {
                area_touch(memory, area, from, stop, stride);
                area->used = stop;
            }
            left -= stop - from;
        }
        to.call(to.of, (double)end / (double)size);
    }
    return 0;
}

/* Huge pages that were set aside: all of them are there when this is mapped. */
int memory_hugetlb(size_t size, double rate, struct progress to) {
    size_t start, end, length = (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    char *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
    struct pace pace;
    if (map == MAP_FAILED) return errno;
    pace_begin(&pace, size, rate, MB, PAGE);
    while (pace_next(&pace, &start, &end)) {
        for (size_t at = start; at < end; at += PAGE) *(volatile char *)(map + at) = 1;
        to.call(to.of, (double)end / (double)size);
    }
    return 0;
}

int memory_lock(struct memory *memory, size_t size, double rate, struct progress to) {
    /* Ten mappings a second at low rates, so that there are few of them. */
    size_t step = rate > 0 ? (size_t)(rate * 0.1) : MB, start, end;
    struct pace pace;
    pace_begin(&pace, size, rate, step, PAGE);
    pace.slice = step / PAGE * PAGE > PAGE ? step / PAGE * PAGE : PAGE;
    while (pace_next(&pace, &start, &end)) {
        struct area area;
        int error = map_area(memory, &area, end - start, MAP_PRIVATE | MAP_LOCKED, false, memory->thp);
        if (error) return error;
        for (size_t at = 0; at < area.size; at += PAGE) *(volatile char *)(area.map + at) = 1;
        area.used = area.size;
        memory->areas[memory->count++] = area;
        to.call(to.of, (double)end / (double)size);
    }
    return 0;
}

int begin_thread(void *(*call)(void *), void *of) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, SMALL_STACK); /* so that stacks share page tables */
    int error = pthread_create(&thread, &attributes, call, of);
    pthread_attr_destroy(&attributes);
    if (!error) pthread_detach(thread);
    return error;
}

struct share {
    char *begin, *end;
    int cpu;
    sem_t done;
};

__attribute__((noreturn)) static void *touch_and_stay(void *of) {
    struct share *share = of;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(share->cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    for (char *at = share->begin; at < share->end; at += PAGE) *(volatile char *)at = 1;
    sem_post(&share->done);
    while (true) pause();
}

/* Write to new memory from threads that are each on a CPU of their own, and stay. */
int memory_scatter(struct memory *memory, size_t size, int threads, bool shared) {
    int thp = memory->thp;
    memory->thp = 0;
    int error = add(memory, size, shared ? MAP_SHARED : MAP_PRIVATE, !shared);
    memory->thp = thp;
    if (error) return error;
    struct area *area = &memory->areas[memory->count - 1];
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    sched_getaffinity(0, sizeof cpus, &cpus);
    size_t pages = area->size / PAGE;
    int cpu = -1;
    for (int i = 0; i < threads; i++) {
        do cpu = (cpu + 1) % CPU_SETSIZE;
        while (!CPU_ISSET(cpu, &cpus));
        struct share share = {
            .begin = area->map + pages * (size_t)i / (size_t)threads * PAGE,
            .end = area->map + pages * (size_t)(i + 1) / (size_t)threads * PAGE,
            .cpu = cpu,
        };
        sem_init(&share.done, 0, 0);
        error = begin_thread(touch_and_stay, &share);
        if (error) return error;
        while (sem_wait(&share.done) && errno == EINTR) {}
    }
    area->used = area->size;
    return 0;
}

/* Give private anonymous memory back, the newest first, by MADV_FREE; below 0: all of it. */
int memory_free_lazily(struct memory *memory, long long size) {
    for (size_t i = memory->count; i-- > 0 && size != 0;) {
        struct area *area = &memory->areas[i];
        if (!area->anon || !area->used) continue;
        size_t keep = 0;
        if (size >= 0 && (size_t)size < area->used) keep = (area->used - (size_t)size) / PAGE * PAGE;
        size_t length = (area->used - keep + PAGE - 1) / PAGE * PAGE;
        if (madvise(area->map + keep, length, MADV_FREE) && /* before 4.5 there was none */
            (errno != EINVAL || madvise(area->map + keep, length, MADV_DONTNEED)))
            return errno;
        if (area->lazy < area->used) area->lazy = area->used;
        if (size >= 0) size = (size_t)size > area->used - keep ? size - (long long)(area->used - keep) : 0;
        area->used = keep;
    }
    return 0;
}

/* Give private anonymous memory back, the newest first. */
int memory_free(struct memory *memory, long long size) {
    for (size_t i = memory->count; i-- > 0;) {
        struct area *area = &memory->areas[i];
        if (!area->anon) continue;
        if (size >= 0 && (size_t)size < area->used) {
            size_t keep = (area->used - (size_t)size) / PAGE * PAGE;
            if (keep < PAGE) keep = PAGE;
            if (keep < area->size && munmap(area->map + keep, area->size - keep)) return errno;
            area->size = area->used = keep;
            area->seen = area->lazy = 0;
            break;
        }
        if (munmap(area->map, area->size)) return errno;
        area->size = 0;
        if (size >= 0) size -= (long long)area->used;
    }
    size_t kept = 0;
    for (size_t i = 0; i < memory->count; i++)
        if (memory->areas[i].size) memory->areas[kept++] = memory->areas[i];
    memory->count = kept;
    return 0;
}

int file_area_open(struct file_area *area, const char *path) {
    struct stat found;
    fault_path = path;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    int error = fstat(fd, &found) ? errno : 0;
    *area = (struct file_area){.size = (size_t)found.st_size};
    if (!error && area->size) {
        area->map = mmap(NULL, area->size, PROT_READ, MAP_SHARED, fd, 0);
        if (area->map == MAP_FAILED) error = errno;
    }
    close(fd);
    return error;
}

void file_area_run_through(struct file_area *area) {
    for (size_t at = 0; at < area->size; at += PAGE) (void)*(volatile char *)(area->map + at);
}

/* Read through the page cache from the file's start, again and again. */
int read_file(const char *path, size_t size, double rate, struct progress to) {
    fault_path = path;
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    if (fd < 0) return errno;
    char *buffer = malloc(READ_CHUNK);
    struct pace pace;
    size_t start, end;
    pace_begin(&pace, size, rate, READ_CHUNK, PAGE);
    if (buffer == NULL) error = ENOMEM;
    while (!error && pace_next(&pace, &start, &end)) {
        for (size_t left = end - start; left > 0 && !error;) {
            ssize_t got = read(fd, buffer, left);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) error = errno;
            else if (got > 0) left -= (size_t)got;
            else if (lseek(fd, 0, SEEK_CUR) == 0) break; /* an empty file */
            else lseek(fd, 0, SEEK_SET);
        }
        if (!error) to.call(to.of, (double)end / (double)size);
    }
    free(buffer);
    close(fd);
    return error;
}

/* Write through the page cache from the file's start; nothing is synced. */
int put_file(const char *path, size_t size, double rate, struct progress to, const char *content) {
    fault_path = path;
    int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666), error = 0;
    if (fd < 0) return errno;
    char *ones = NULL;
    if (content == NULL) {
        ones = malloc(WRITE_CHUNK);
        if (ones == NULL) error = ENOMEM;
        else memset(ones, 1, WRITE_CHUNK);
        content = ones;
    }
    struct pace pace;
    size_t start, end;
    pace_begin(&pace, size, rate, WRITE_CHUNK, PAGE);
    while (!error && pace_next(&pace, &start, &end)) {
        error = write_all(fd, content, end - start);
        if (!error) to.call(to.of, (double)end / (double)size);
    }
    free(ones);
    close(fd);
    return error;
}
