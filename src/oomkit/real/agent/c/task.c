/* One task: becomes what the scenario says it is, then goes through its steps. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define WORK_SLICE_S 0.02
#define PROGRAM_S 0.1 /* a working task comes by all of its program's text so often */
#define HOLD_S 0.1
#define WALK_PIECE (256 << 10)
#define PATH 512
#define FAILED 70

struct task {
    const struct world *world;
    const struct node *plan;
    struct memory memory;
    struct file_area program;
    long slot;
    size_t at;
    long long loop;
};

static void note_progress(void *of, double share) {
    struct task *task = of;
    task->world->slots[task->slot] = (struct slot){(double)task->loop, (double)task->at + share};
}

static struct progress progress_of(struct task *task) {
    return (struct progress){note_progress, task};
}

static void forever(struct task *task) {
    task->world->slots[task->slot] = (struct slot){FOREVER, (double)task->at};
    while (true) pause();
}

static int hold(struct task *task, const struct node *step) {
    const struct node *given = find(step, "seconds");
    if (given == NULL) forever(task);
    double seconds = given->real, end = now_s() + seconds, left;
    while ((left = end - now_s()) > 0) {
        rest_s(left < HOLD_S ? left : HOLD_S);
        note_progress(task, 1 - left / seconds);
    }
    return 0;
}

/* The next slot for a forked copy; the last one is shared when all are taken. */
static long take_slot(const struct world *world) {
    struct slot *count = &world->slots[world->fork_slots];
    double taken = count->loop, last = count->at;
    count->loop = taken + 1 < last ? taken + 1 : last;
    return world->fork_slots + 1 + (long)(taken < last - 1 ? taken : last - 1);
}

static int fork_copies(struct task *task, const struct node *step) {
    for (long long i = 0; i < whole(step, "count"); i++) {
        /* The slot is taken by the parent, so that copies of copies never share one. */
        long slot = take_slot(task->world);
        pid_t pid = fork();
        if (pid < 0) return errno;
        if (pid == 0) {
            task->slot = slot;
            say(task->world->report, "start", "%d %s - %ld", getpid(), text(task->plan, "name"), slot);
            return 0;
        }
    }
    return 0;
}

/* One thread's share of a work step: CPU time, over the task's working set. */
struct worker {
    struct task *task;
    double seconds, rate; /* seconds below 0: for ever */
    size_t limit;         /* of memory; what of each area is gone over follows from it */
    struct file_area file;
    size_t area, offset, left;
    atomic_bool done;
};

static void spin(void) {
    static volatile unsigned sink;
    unsigned value = sink;
    for (int i = 0; i < 40000; i++) value = value * 1664525u + 1013904223u;
    sink = value;
}

static bool memory_left(const struct worker *worker) {
    const struct memory *memory = &worker->task->memory;
    return worker->left > 0 && worker->area < memory->count;
}

/* Go over the next piece; returns its size, 0 where there is nothing to go over. */
static size_t walk(struct worker *worker) {
    struct memory *memory = &worker->task->memory;
    for (int turns = 0; turns < 2; turns++) {
        while (memory_left(worker)) {
            struct area *area = &memory->areas[worker->area];
            size_t end = area->used < worker->offset + worker->left ? area->used
                                                                    : worker->offset + worker->left;
            if (worker->offset < end) {
                size_t from = worker->offset;
                if (end - from > WALK_PIECE) end = from + WALK_PIECE;
                area_touch(memory, area, from, end, PAGE);
                worker->offset = end;
                worker->left -= end - from;
                return end - from;
            }
            worker->area++;
            worker->offset = 0;
        }
        size_t at = worker->area == SIZE_MAX ? worker->offset : 0;
        if (at < worker->file.size) {
            size_t end = at + WALK_PIECE < worker->file.size ? at + WALK_PIECE : worker->file.size;
            for (size_t page = at; page < end; page += PAGE) (void)*(volatile char *)(worker->file.map + page);
            worker->area = SIZE_MAX; /* in the file until its end */
            worker->offset = end;
            return end - at;
        }
        worker->area = worker->offset = 0;
        worker->left = worker->limit;
    }
    return 0;
}

static void work_on(struct worker *worker) {
    double began = used_s(CLOCK_THREAD_CPUTIME_ID), used = 0, walked = 0, through = 0;
    while (worker->seconds < 0 || used < worker->seconds) {
        double until = began + used + WORK_SLICE_S;
        while (used_s(CLOCK_THREAD_CPUTIME_ID) < until) spin();
        used = used_s(CLOCK_THREAD_CPUTIME_ID) - began;
        if (worker->task->program.size && used >= through) {
            through = used + PROGRAM_S;
            file_area_run_through(&worker->task->program);
        }
        while (walked < used * worker->rate) {
            size_t piece = walk(worker);
            if (piece == 0) break;
            walked += (double)piece;
        }
        if (worker->seconds >= 0)
            note_progress(worker->task, used < worker->seconds ? used / worker->seconds : 1);
        used = used_s(CLOCK_THREAD_CPUTIME_ID) - began;
    }
    atomic_store(&worker->done, true);
}

static void *work_in_thread(void *of) {
    work_on(of);
    return NULL;
}

static int work(struct task *task, const struct node *step) {
    long long threads = whole(task->plan, "threads");
    struct node *set = find(step, "set"), *file = find(step, "file");
    size_t limit = set ? (size_t)set->integer : SIZE_MAX / 2, whole_set = 0;
    struct file_area shared = {0};
    for (size_t i = 0; i < task->memory.count; i++) whole_set += task->memory.areas[i].used;
    if (limit < whole_set) whole_set = limit;
    if (file) {
        char path[PATH];
        snprintf(path, sizeof path, "%s/%s", task->world->files, file->text);
        int error = file_area_open(&shared, path);
        if (error) return error;
        whole_set += shared.size;
    }
    /* Without a rate it comes by everything once a CPU second. */
    double rate = number(step, "rate", (double)whole_set) / (double)threads;
    struct worker *workers = calloc((size_t)threads, sizeof *workers);
    if (workers == NULL) return ENOMEM;
    int error = 0;
    long long begun = 0;
    for (long long i = threads - 1; i >= 0 && !error; i--, begun++) {
        workers[i] = (struct worker){.task = task, .seconds = number(step, "seconds", -1), .rate = rate,
                                     .limit = limit, .left = limit, .file = shared};
        if (i > 0) error = begin_thread(work_in_thread, &workers[i]);
    }
    if (!error) work_on(&workers[0]);
    for (long long i = 1; i < threads && !error; i++)
        while (!atomic_load(&workers[i].done)) rest_s(0.02);
    if (!error) free(workers);
    return error;
}

static int take_memory(struct task *task, const struct node *step, const char *verb) {
    struct memory *memory = &task->memory;
    size_t size = (size_t)(find(step, "size") ? whole(step, "size") : 0);
    double rate = number(step, "rate", 0);
    if (truth(step, "scatter"))
        return memory_scatter(memory, size, (int)whole(step, "scatter"), strcmp(verb, "share") == 0);
    if (strcmp(verb, "reserve") == 0) return memory_reserve(memory, size, truth(step, "shared"));
    if (truth(step, "hugetlb")) return memory_hugetlb(size, rate, progress_of(task));
    bool shares = strcmp(verb, "share") == 0, peeks = strcmp(verb, "peek") == 0;
    if (shares || peeks || strcmp(verb, "touch") == 0) {
        size_t stride = find(step, "stride") ? (size_t)whole(step, "stride") : 0;
        return memory_go_over(memory, shares ? SHARE : peeks ? PEEK : TOUCH, size, rate,
                              stride ? stride : PAGE, progress_of(task));
    }
    if (strcmp(verb, "lock") == 0) return memory_lock(memory, size, rate, progress_of(task));
    long long freed = find(step, "size") ? (long long)size : -1;
    return truth(step, "lazy") ? memory_free_lazily(memory, freed) : memory_free(memory, freed);
}

static int do_step(struct task *task, const struct node *step) {
    static char path[PATH];
    const char *verb = text(step, "verb");
    size_t size = (size_t)(find(step, "size") ? whole(step, "size") : 0);
    double rate = number(step, "rate", 0);
    if (strcmp(verb, "hold") == 0) return hold(task, step);
    if (strcmp(verb, "work") == 0) return work(task, step);
    if (strcmp(verb, "fork") == 0) return fork_copies(task, step);
    if (strcmp(verb, "tmpfs") == 0) {
        snprintf(path, sizeof path, "%s/%s-%d-%lld-%zu", task->world->tmpfs, text(task->plan, "name"),
                 getpid(), task->loop, task->at);
        return put_file(path, size, rate, progress_of(task), task->world->filler);
    }
    bool reads = strcmp(verb, "read") == 0;
    if (reads || strcmp(verb, "write") == 0) {
        snprintf(path, sizeof path, "%s/%s", task->world->files, text(step, "file"));
        return reads ? read_file(path, size, rate, progress_of(task))
                     : put_file(path, size, rate, progress_of(task), NULL);
    }
    return take_memory(task, step, verb);
}

static int end(struct task *task, int code) {
    say(task->world->report, "end", "%d %d", getpid(), code);
    return code;
}

static void broken(struct task *task, int error) {
    char why[300];
    snprintf(why, sizeof why, "%s:_%s", strerror(error), fault_path);
    for (char *at = why; *at; at++)
        if (*at == ' ') *at = '_';
    say(task->world->report, "broken", "%d %s %lld %d %s", getpid(), text(task->plan, "name"),
        whole(task->plan, "instance"), error, why);
}

static bool is_refusal(int error) {
    return error == ENOMEM || error == EAGAIN || error == ENOSPC || error == EDQUOT;
}

static const char *name_of(int error) {
    return error == ENOMEM ? "ENOMEM" : error == EAGAIN ? "EAGAIN" : error == ENOSPC ? "ENOSPC" : "EDQUOT";
}

/* Go through the steps as often as the plan says; returns the exit status. */
static int run(struct task *task) {
    const struct node *steps = get(task->plan, "steps"), *loops = find(task->plan, "loops");
    while (true) {
        for (task->at = 0; task->at < steps->length;) {
            const struct node *step = steps->items[task->at];
            const char *verb = text(step, "verb");
            if (strcmp(verb, "exit") == 0) return end(task, (int)number(step, "code", 0));
            int error = do_step(task, step);
            if (error && !is_refusal(error)) {
                broken(task, error);
                return FAILED;
            }
            if (error) {
                bool forks = strcmp(verb, "fork") == 0;
                const char *call = forks ? "fork" : strcmp(verb, "tmpfs") == 0 || strcmp(verb, "write") == 0
                                                        ? "write" : "mmap";
                say(task->world->report, "denied", "%d %s %lld %s", getpid(), call,
                    find(step, "size") ? whole(step, "size") : 0, name_of(error));
                if (!forks) return end(task, 1); /* after a failed fork it goes on */
            }
            task->at++;
            note_progress(task, 0);
        }
        task->loop++;
        if (loops && task->loop >= loops->integer) return end(task, 0);
    }
}

static int become(const struct node *plan) {
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) signal(numbers[i], SIG_DFL);
    signal(SIGCHLD, SIG_IGN);
    rest_s(number(plan, "delay", 0));
    int error = 0;
    const struct node *procs = get(plan, "cgroup_procs");
    for (size_t i = 0; i < procs->length && !error; i++) error = write_file_text(procs->items[i]->text, "0");
    char value[32];
    snprintf(value, 16, "%s", text(plan, "name"));
    if (!error) error = write_file_text("/proc/self/comm", value);
    snprintf(value, sizeof value, "%lld", whole(plan, "oom_score_adj"));
    if (!error) error = write_file_text("/proc/self/oom_score_adj", value);
    if (!error && whole(plan, "nice") && setpriority(PRIO_PROCESS, 0, (int)whole(plan, "nice"))) error = errno;
    if (!error && truth(plan, "lock") && whole(plan, "uid")) { /* root's has no limit */
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
        if (setrlimit(RLIMIT_MEMLOCK, &limit)) { /* what there is was found to be enough */
            getrlimit(RLIMIT_MEMLOCK, &limit);
            limit.rlim_cur = limit.rlim_max;
            setrlimit(RLIMIT_MEMLOCK, &limit);
        }
    }
    return error;
}

static int take_identity(const struct node *plan) {
    uid_t uid = (uid_t)whole(plan, "uid");
    gid_t gid = (gid_t)whole(plan, "gid");
    if (uid == 0) return 0;
    fault_path = "identity";
    return setgroups(0, NULL) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid) ? errno : 0;
}

static int live(struct task *task) {
    const struct node *plan = task->plan, *children = get(plan, "children");
    say(task->world->report, "start", "%d %s %lld %ld", getpid(), text(plan, "name"),
        whole(plan, "instance"), task->slot);
    /* While still root: children have a group, an adjustment and a uid of their own to take on. */
    for (size_t i = 0; i < children->length; i++) {
        pid_t pid = spawn(task->world, children->items[i]);
        if (pid < 0) return -(int)pid;
    }
    int error = take_identity(plan);
    if (error) return error;
    if (find(plan, "program")) {
        char path[PATH];
        snprintf(path, sizeof path, "%s/%s", task->world->files, text(plan, "program"));
        error = file_area_open(&task->program, path);
        if (error) return error;
        file_area_run_through(&task->program);
    }
    _exit(run(task));
}

pid_t spawn(const struct world *world, const struct node *plan) {
    pid_t pid = fork();
    if (pid) return pid < 0 ? -errno : pid;
    struct task task = {.world = world, .plan = plan, .slot = (long)whole(plan, "slot"),
                        .memory = {.thp = (int)whole(plan, "thp"), .filler = world->filler}};
    int error = become(plan);
    if (!error) error = live(&task);
    broken(&task, error);
    _exit(FAILED);
}
