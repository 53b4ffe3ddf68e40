/* The probe: what a keystroke needs, once a second, in a process whose own pages are locked. What a
 * round is, docs/scenarios.md says. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define ROUNDS 4096 /* more than an hour's; later ones are not reported */

/* What the probe passes to the watcher, through memory that both have, without waiting for it. */
struct rounds {
    atomic_long begun, over;
    double began_s[ROUNDS], over_s[ROUNDS];
};

static struct rounds *rounds;
static long reported;
static int starter = -1; /* the probe learns by it when the run begins */

struct probe {
    double every_s, cpu_s;
    size_t scratch, text;
    const char *program; /* its part of the system's programs, mapped; NULL: there is none */
};

static void go_over(const struct probe *probe) {
    for (size_t at = 0; at < probe->text; at += PAGE) (void)*(const volatile char *)(probe->program + at);
}

static void one_round(const struct probe *probe) {
    double began = used_s(CLOCK_PROCESS_CPUTIME_ID);
    static volatile unsigned sink;
    go_over(probe);
    char *scratch = mmap(NULL, probe->scratch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (scratch != MAP_FAILED) {
        for (size_t at = 0; at < probe->scratch; at += PAGE) *(volatile char *)(scratch + at) = 1;
        munmap(scratch, probe->scratch);
    }
    while (used_s(CLOCK_PROCESS_CPUTIME_ID) - began < probe->cpu_s)
        for (int i = 0; i < 2000; i++) sink = sink * 1664525u + 1013904223u;
}

static void go_through_rounds(const struct probe *probe, double t0) {
    for (double due = t0 + probe->every_s;;) {
        rest_s(due - now_s());
        long round = atomic_load(&rounds->begun);
        if (round < ROUNDS) {
            rounds->began_s[round] = due;
            atomic_store(&rounds->begun, round + 1);
        }
        one_round(probe);
        double now = now_s();
        if (round < ROUNDS) {
            rounds->over_s[round] = now;
            atomic_store(&rounds->over, round + 1);
        }
        /* One that is not over when the next is due takes its place. */
        due = t0 + ((double)(long)((now - t0) / probe->every_s) + 1) * probe->every_s;
    }
}

static int map_program(struct probe *probe, const char *path) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    const char *map = mmap(NULL, probe->text, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return errno;
    probe->program = map;
    close(fd);
    return 0;
}

/* Fork it and wait until its part of the programs is in memory; returns 0 or an errno. */
int probe_begin(const struct node *given, const char *programs) {
    int go[2], ready[2];
    struct probe probe = {number(given, "every", 1), number(given, "cpu", 0), (size_t)whole(given, "scratch"),
                          *programs ? (size_t)whole(given, "text") : 0, NULL};
    char answer = 0;
    rounds = lasting(sizeof *rounds);
    fault_path = "the probe";
    if (pipe2(go, O_CLOEXEC) || pipe2(ready, O_CLOEXEC)) return errno;
    pid_t pid = fork();
    if (pid < 0) return errno;
    if (pid == 0) {
        double t0;
        close(go[1]);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        signal(SIGHUP, SIG_DFL);
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* it ends with the watcher */
        write_file_text("/proc/self/comm", "probe");
        lock_memory(false); /* its own pages; not the program, nor what a round takes */
        int error = probe.text ? map_program(&probe, programs) : 0;
        if (!error) go_over(&probe);
        answer = (char)error;
        if (write(ready[1], &answer, 1) != 1 || error) _exit(1);
        if (read(go[0], &t0, sizeof t0) != sizeof t0) _exit(0); /* nobody waits for it any more */
        go_through_rounds(&probe, t0);
    }
    close(go[0]);
    close(ready[1]);
    starter = go[1];
    ssize_t got = read(ready[0], &answer, 1);
    close(ready[0]);
    if (answer) fault_path = programs;
    return got == 1 ? answer : EIO;
}

void probe_start(double t0) {
    if (starter >= 0 && write(starter, &t0, sizeof t0) < 0) return;
}

/* Rounds that are over since the last time, and one that is not. */
void probe_report(int report) {
    if (rounds == NULL) return;
    long over = atomic_load(&rounds->over);
    for (; reported < over; reported++)
        say(report, "probe", "%.4f %.4f", rounds->began_s[reported], rounds->over_s[reported]);
    if (atomic_load(&rounds->begun) > over) say(report, "probing", "%.4f", rounds->began_s[over]);
}
