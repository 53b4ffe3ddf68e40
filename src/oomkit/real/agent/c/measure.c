/* What a machine is worth, and what the agent costs it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define FAULTED (16 * (size_t)MB)
#define SPIN_S 0.04
#define MAX_CPUS 64
#define TEXT 8192
#define BLOCK (1 << 20)

static void noted(void *of, double share) { (void)of, (void)share; }
static const struct progress nobody = {noted, NULL};

static long long memory_kb(const char *key) {
    static char text[TEXT];
    return read_whole("/proc/meminfo", text, sizeof text) > 0 ? keyed(text, key, 0) : 0;
}

/* Free pages that CPUs hold back for themselves, which MemFree leaves out: what was measured here has
 * just given its own back to them, and the first task takes them. */
static long long held_by_cpus_kb(void) {
    char line[128];
    long long pages = 0, count;
    FILE *file = fopen("/proc/zoneinfo", "re");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, " count: %lld", &count) == 1) pages += count;
    fclose(file);
    return pages * (PAGE / 1024);
}

/* CPU seconds a page costs that is written to for the first time: the best of some rounds. */
static double fault_s(size_t size, int flags, int rounds, double *elapsed_s) {
    double best = 0;
    *elapsed_s = 0;
    for (int i = 0; i < rounds; i++) {
        double used = used_s(CLOCK_THREAD_CPUTIME_ID), began = now_s();
        char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
        if (map == MAP_FAILED) break;
        madvise(map, size, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < size; at += PAGE) *(volatile char *)(map + at) = 1;
        double took = now_s() - began;
        used = used_s(CLOCK_THREAD_CPUTIME_ID) - used;
        munmap(map, size);
        if (best == 0 || used < best) best = used;
        if (*elapsed_s == 0 || took < *elapsed_s) *elapsed_s = took;
    }
    return best / (double)(size / PAGE);
}

static size_t spare(size_t size) {
    size_t free_bytes = (size_t)memory_kb("MemFree") * 1024 / 8 / PAGE * PAGE;
    return free_bytes < size ? (free_bytes > 8 * MB ? free_bytes : 8 * MB) : size;
}

struct spinner {
    int cpu;
    double until;
    atomic_long turns;
    atomic_bool done;
};

static void *spin_until(void *of) {
    struct spinner *spinner = of;
    volatile unsigned sink = 0;
    cpu_set_t one;
    long turns = 0;
    CPU_ZERO(&one);
    CPU_SET(spinner->cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    while (now_s() < spinner->until) {
        for (int i = 0; i < 2000; i++) sink = sink * 1664525u + 1013904223u;
        turns++;
    }
    atomic_store(&spinner->turns, turns);
    atomic_store(&spinner->done, true);
    return NULL;
}

static long turns_on(int cpus) {
    static struct spinner spinners[MAX_CPUS];
    double until = now_s() + SPIN_S;
    long turns = 0;
    for (int i = 0; i < cpus; i++) {
        spinners[i] = (struct spinner){.cpu = i, .until = until};
        if (begin_thread(spin_until, &spinners[i])) return 0;
    }
    for (int i = 0; i < cpus; i++) {
        while (!atomic_load(&spinners[i].done)) rest_s(0.005);
        turns += atomic_load(&spinners[i].turns);
    }
    return turns;
}

/* How many CPUs' worth of work all of them do together. */
static double cpus_worth(void) {
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    if (cpus < 2) return 1;
    if (cpus > MAX_CPUS) cpus = MAX_CPUS;
    long one = turns_on(1), all = turns_on((int)cpus);
    return one > 0 ? (double)all / (double)one : (double)cpus;
}

void measure_machine(int report, int rounds, bool cpus) {
    double took;
    size_t size = spare(FAULTED);
    fault_s(size, MAP_PRIVATE, rounds, &took);
    if (cpus) say(report, "found", "cpus_worth %.3f", cpus_worth());
    long long free_kb = memory_kb("MemFree") + held_by_cpus_kb();
    say(report, "machine", "%lld %lld %lld %.0f", memory_kb("MemTotal"), free_kb, memory_kb("Cached"),
        took > 0 ? (double)size / took : 0);
}

/* What a task of this agent holds before its first step. */
void measure_weight(const struct world *world, int report, const struct node *plan) {
    static char text[TEXT];
    char path[64], byte;
    int ready[2], leave[2];
    (void)world, (void)plan;
    if (pipe(ready) || pipe(leave)) return;
    pid_t pid = fork();
    if (pid == 0) {
        write_file_text("/proc/self/comm", "weighed");
        say(ready[1], "start", "%d %s %d %d", getpid(), "weighed", 0, 0);
        close(leave[1]);
        _exit(read(leave[0], &byte, 1) < 0);
    }
    close(leave[0]);
    if (pid > 0 && read(ready[0], &byte, 1) == 1) {
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        if (read_whole(path, text, sizeof text) > 0)
            say(report, "weight", "%lld %lld %lld", keyed(text, "VmRSS", 0), keyed(text, "RssAnon", 0),
                keyed(text, "VmData", 0) + keyed(text, "VmStk", 0));
    }
    close(leave[1]);
    if (pid > 0) waitpid(pid, NULL, 0);
    close(ready[0]);
    close(ready[1]);
}

void report_cost(int report) {
    static char *text;
    static int status = -1;
    struct rusage used;
    if (text == NULL) {
        text = lasting(TEXT);
        status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    }
    getrusage(RUSAGE_SELF, &used);
    read_again(status, text, TEXT);
    double cpu_s = (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec +
                   ((double)used.ru_utime.tv_usec + (double)used.ru_stime.tv_usec) * 1e-6;
    say(report, "cost", "%.4f %lld %lld", cpu_s, keyed(text, "VmRSS", 0), keyed(text, "VmLck", 0));
}

static void found(int report, const char *name, double value) { say(report, "found", "%s %.9g", name, value); }

/* The disk alone, then a file's first and second reading through the page cache. */
static void measure_reading(int report, const char *path) {
    int direct = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
    void *block;
    if (direct < 0 || posix_memalign(&block, PAGE, BLOCK)) return;
    double began = now_s(), bytes = 0;
    ssize_t got;
    while ((got = read(direct, block, BLOCK)) > 0) bytes += (double)got;
    if (bytes > 0) found(report, "disk_bytes_s", bytes / (now_s() - began));
    close(direct);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
    static const char *const names[2][2] = {{"first_read_s", "first_read_bytes_s"}, {"read_s", NULL}};
    for (int i = 0; i < 2; i++) {
        double used = used_s(CLOCK_THREAD_CPUTIME_ID);
        began = now_s();
        read_file(path, (size_t)bytes, 0, nobody);
        double took = now_s() - began;
        found(report, names[i][0], (used_s(CLOCK_THREAD_CPUTIME_ID) - used) / (bytes / PAGE));
        if (names[i][1]) found(report, names[i][1], bytes / took);
    }
    free(block);
}

/* The kernel's reclaiming thread, whose time counts as well. */
static pid_t kswapd(void) {
    char path[300], name[32];
    DIR *proc = opendir("/proc");
    pid_t pid = 0;
    for (struct dirent *one; proc && pid == 0 && (one = readdir(proc));) {
        snprintf(path, sizeof path, "/proc/%s/comm", one->d_name);
        if (strspn(one->d_name, "0123456789") && read_whole(path, name, sizeof name) > 0 &&
            strcmp(name, "kswapd0\n") == 0)
            pid = (pid_t)atoi(one->d_name);
    }
    if (proc) closedir(proc);
    return pid;
}

static double reclaiming_s(clockid_t clock, bool has_clock) {
    return used_s(CLOCK_THREAD_CPUTIME_ID) + (has_clock ? used_s(clock) : 0);
}

/* Fill memory until so much was swapped out; then bring it back where there is room for it. */
static void measure_swapping(int report, size_t size, double per_fault_s) {
    clockid_t clock;
    pid_t reclaimer = kswapd();
    bool has_clock = reclaimer > 0 && clock_getcpuclockid(reclaimer, &clock) == 0;
    size_t room = (size_t)memory_kb("MemTotal") * 1024 + 2 * size;
    char *first = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *rest = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (first == MAP_FAILED || rest == MAP_FAILED) return;
    memset(first, 1, size);
    long long full = memory_kb("SwapFree"), before = full, after = full;
    double used = 0, began = 0;
    size_t at = 0, touched = 0;
    for (; at < room && after > before - (long long)(size / 1024) && after > 16 * 1024; at += MB) {
        memset(rest + at, 1, MB);
        touched += MB / PAGE;
        after = memory_kb("SwapFree");
        if (began == 0 && after < full) { /* reclaim is under way: from here on it is measured */
            before = after;
            touched = 0;
            began = now_s();
            used = reclaiming_s(clock, has_clock);
        }
    }
    double pages = (double)(before - after) / 4;
    if (began > 0 && pages > 0) {
        double spent = reclaiming_s(clock, has_clock) - used - (double)touched * per_fault_s;
        found(report, "swap_out_s", (spent > 0 ? spent : 0) / pages);
        found(report, "swap_out_bytes_s", pages * PAGE / (now_s() - began));
    }
    munmap(rest, room);
    rest_s(0.5); /* what is still being written is not read at the same time */
    before = memory_kb("SwapFree");
    static char text[TEXT];
    pages = read_whole("/proc/self/status", text, sizeof text) > 0 ? (double)keyed(text, "VmSwap", 0) / 4 : 0;
    used = reclaiming_s(clock, has_clock);
    began = now_s();
    for (size_t page = 0; page < size; page += PAGE) (void)*(volatile char *)(first + page);
    if (pages > 0) {
        found(report, "swap_in_s", (reclaiming_s(clock, has_clock) - used) / pages);
        found(report, "swap_in_bytes_s", pages * PAGE / (now_s() - began));
    }
    munmap(first, size);
}

/* In a process of its own, whose memory is not locked. */
void measure_costs(int report, const struct node *plan) {
    pid_t pid = fork();
    if (pid < 0) return;
    for (; pid > 0 && waitpid(pid, NULL, WNOHANG) == 0; rest_s(0.02)) say(report, "clock", "%s", "");
    if (pid > 0) return;
    double took;
    double anon = fault_s(spare(FAULTED), MAP_PRIVATE, 5, &took);
    found(report, "fault_s", anon);
    found(report, "shared_fault_s", fault_s(spare(FAULTED), MAP_SHARED, 5, &took));
    if (find(plan, "file")) measure_reading(report, text(plan, "file"));
    if (truth(plan, "swap")) measure_swapping(report, (size_t)whole(plan, "swap"), anon);
    _exit(0);
}
