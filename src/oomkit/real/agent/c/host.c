/* The agent on this host: the plan comes on standard input, reports go to standard output. Standard
 * input stays open as long as the parent lives; when it closes, everything is taken down again. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

static void ask_to_stop(int number) {
    (void)number;
    stop_asked = 1;
}

static void read_exactly(char *data, size_t size) {
    while (size > 0) {
        ssize_t got = read(0, data, size);
        if (got < 0 && errno == EINTR && !stop_asked) continue;
        if (got <= 0) exit(1);
        data += got;
        size -= (size_t)got;
    }
}

/* A directory as tasks reach it, which can't enter the one above: by a descriptor of ours. */
static int hand_over(struct node *plan, const char *name) {
    struct node *given = find(plan, name);
    if (given == NULL || given->length == 0) return 0;
    int fd = open(given->text, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    fault_path = given->text;
    if (fd < 0) return errno;
    /* Any uid may write there, but only processes forked from us can reach it. */
    if (chmod(given->text, 0777)) return errno;
    char *path = lasting(40);
    given->length = (size_t)snprintf(path, 40, "/proc/self/fd/%d", fd);
    given->text = path;
    return 0;
}

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *where) {
    (void)found, (void)kind, (void)where;
    return remove(path);
}

static void keep_to_cpus(long long count) {
    cpu_set_t all, some;
    CPU_ZERO(&some);
    if (sched_getaffinity(0, sizeof all, &all)) return;
    for (int cpu = 0; cpu < CPU_SETSIZE && count > 0; cpu++)
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &some);
            count--;
        }
    sched_setaffinity(0, sizeof some, &some);
}

/* Whatever the run has made; returns the exit status: 3 if cgroups stay. */
static int take_down(const struct node *plan, int code) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) signal(numbers[i], SIG_IGN);
    watch_end();
    const struct node *groups = get(plan, "groups"), *temporary = get(plan, "temporary");
    const char **left = lasting((groups->length + 1) * sizeof *left);
    size_t count = groups_remove(groups, left);
    for (size_t i = 0; i < temporary->length; i++)
        nftw(temporary->items[i]->text, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    for (size_t i = 0; i < count; i++) say(1, "left", "%s", left[i]);
    return count ? 3 : code;
}

int host_main(void) {
    uint64_t size;
    struct sigaction action = {.sa_handler = ask_to_stop}; /* without SA_RESTART: waits end */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    read_exactly((char *)&size, sizeof size);
    char *body = size < (1u << 30) ? malloc(size) : NULL;
    if (body == NULL) {
        fprintf(stderr, "unreadable plan: its size is %llu\n", (unsigned long long)size);
        return 1;
    }
    read_exactly(body, size);
    struct node *plan = parse_plan(body, size);
    free(body);
    /* Orphans of the run come to us, so that none outlives it. */
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    int error = hand_over(plan, "files");
    if (!error) error = hand_over(plan, "tmpfs");
    keep_to_cpus(whole(plan, "cpus"));
    /* It has to answer while memory is low; where that is not allowed it waits as others do. */
    lock_memory(true);
    int code = 2;
    if (error) {
        say(1, "failed", "%d %s", error, fault_path);
    } else {
        int how = watch(plan, 1, 0, false);
        code = how == WATCH_DONE ? 0 : how == WATCH_STOPPED ? 1 : 2;
    }
    return take_down(plan, code);
}
