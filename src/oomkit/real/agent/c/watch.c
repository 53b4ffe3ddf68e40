/* The watcher: starts the tasks when their time comes, samples, and sees which ones exit. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define SAMPLING_SHARE 40.0 /* minimum distance of samples, in CPU time that one takes */
#define COST_S 1.0          /* how often the agent reports what it costs */
#define EVENTS 64
#define LINES (64 << 10)
#define RECORD 8192
#define ROUNDS 3

enum source { FROM_TASKS = 1, FROM_CONTROL, FROM_KERNEL, FROM_PROC, FROM_STREAM };
enum errand { START, CHANGE, SAMPLE, CLOCK };

struct proc {
    struct sampled sampled; /* its pid is 0 where the place is free */
    int pidfd;              /* below 0: not born, or gone */
    const struct node *plan; /* NULL: its end was seen, or another process waits for it */
    char name[64];          /* empty: its start was not reported yet */
};

struct timer {
    double at;
    long order;
    enum errand errand;
    const struct node *subject;
};

static struct {
    const struct node *plan;
    struct world world;
    int out, pipe, control, kmsg, epoll;
    struct proc *procs;
    size_t seen, room; /* places in use at some time, and in all */
    struct timer *timers;
    size_t waiting, timers_room;
    long ordered, pending;
    double t0, cost_due;
    char *lines;
    size_t held;
    bool beside;
} w;

volatile sig_atomic_t stop_asked;

static bool earlier(const struct timer *a, const struct timer *b) {
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void at(double when, enum errand errand, const struct node *subject) {
    if (w.waiting == w.timers_room) { /* each task has one at most */
        fprintf(stderr, "the agent has no place for another timer\n");
        exit(1);
    }
    size_t i = w.waiting++;
    struct timer timer = {w.t0 + when, w.ordered++, errand, subject};
    for (; i > 0 && earlier(&timer, &w.timers[(i - 1) / 2]); i = (i - 1) / 2)
        w.timers[i] = w.timers[(i - 1) / 2];
    w.timers[i] = timer;
}

static struct timer next_timer(void) {
    struct timer first = w.timers[0], last = w.timers[--w.waiting];
    size_t i = 0;
    while (2 * i + 1 < w.waiting) {
        size_t child = 2 * i + 1;
        if (child + 1 < w.waiting && earlier(&w.timers[child + 1], &w.timers[child])) child++;
        if (!earlier(&w.timers[child], &last)) break;
        w.timers[i] = w.timers[child];
        i = child;
    }
    w.timers[i] = last;
    return first;
}

static double since_start(void) { return now_s() - w.t0; }

static void listen_to(int fd, enum source source, size_t index) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = (uint64_t)source << 32 | index};
    epoll_ctl(w.epoll, EPOLL_CTL_ADD, fd, &event);
}

static struct proc *proc_of(pid_t pid) {
    for (size_t i = 0; i < w.seen; i++)
        if (w.procs[i].sampled.pid == pid) return &w.procs[i];
    return NULL;
}

static struct proc *place_for(pid_t pid) {
    struct proc *proc = proc_of(pid);
    if (proc) return proc;
    proc = proc_of(0);
    if (proc == NULL) {
        if (w.seen == w.room) return NULL;
        proc = &w.procs[w.seen++];
    }
    *proc = (struct proc){.sampled = {pid, 0, -1, -1}, .pidfd = -1};
    return proc;
}

static void leave_if_done(struct proc *proc) {
    if (proc->pidfd < 0 && proc->plan == NULL) proc->sampled.pid = 0;
}

static void born(pid_t pid, const char *name, long slot) {
    struct proc *proc = place_for(pid);
    if (proc == NULL) return;
    snprintf(proc->name, sizeof proc->name, "%s", name);
    proc->sampled.slot = slot;
    proc->pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (proc->pidfd < 0) {
        say(w.out, "gone", "%d", pid);
        leave_if_done(proc);
        return;
    }
    sampler_open(&proc->sampled);
    listen_to(proc->pidfd, FROM_PROC, (size_t)(proc - w.procs));
}

/* Pass on what tasks report. */
static void hear_tasks(void) {
    while (true) {
        ssize_t got = read(w.pipe, w.lines + w.held, LINES - w.held);
        if (got <= 0) return;
        w.held += (size_t)got;
        char *begin = w.lines, *end;
        while ((end = memchr(begin, '\n', w.held - (size_t)(begin - w.lines)))) {
            char name[64];
            int pid;
            long slot;
            write_all(w.out, begin, (size_t)(end + 1 - begin));
            *end = 0;
            if (sscanf(begin, "start %*s %d %63s %*s %ld", &pid, name, &slot) == 3) born(pid, name, slot);
            begin = end + 1;
        }
        w.held -= (size_t)(begin - w.lines);
        memmove(w.lines, begin, w.held);
    }
}

/* Pass on what the kernel says, stamped with our clock as it comes. */
static void hear_kernel(void) {
    static char *record;
    if (record == NULL) record = lasting(RECORD);
    while (true) {
        ssize_t got = read(w.kmsg, record, RECORD - 1);
        if (got < 0 && errno == EPIPE) continue; /* overwritten under us; go on with what is left */
        if (got <= 0) return;
        record[got] = 0;
        char *said = strchr(record, ';');
        if (said == NULL) continue;
        said[strcspn(said, "\n")] = 0;
        say(w.out, "kernel", "%s", said + 1);
    }
}

static void ended(struct proc *proc) {
    if (proc->pidfd < 0) return;
    hear_tasks(); /* what it still said comes first */
    /* Tasks that were forked since hold a copy, with which it would go on waking us when it is closed. */
    epoll_ctl(w.epoll, EPOLL_CTL_DEL, proc->pidfd, NULL);
    close(proc->pidfd);
    proc->pidfd = -1;
    sampler_close(&proc->sampled);
    say(w.out, "gone", "%d", proc->sampled.pid);
    leave_if_done(proc);
}

static void reap(void) {
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        int code = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
        if (w.beside && pid == beside_pid()) {
            say(w.out, "daemon_end", "%d", code);
            continue;
        }
        hear_tasks();
        say(w.out, "exit", "%d %d", pid, code);
        struct proc *proc = proc_of(pid);
        if (proc == NULL || proc->plan == NULL) continue;
        const struct node *plan = proc->plan, *restart = find(plan, "restart");
        proc->plan = NULL;
        leave_if_done(proc);
        if (restart) {
            w.pending++;
            at(since_start() + restart->real, START, plan);
        }
    }
}

static void start(const struct node *task) {
    w.pending--;
    pid_t pid = spawn(&w.world, task);
    struct proc *proc = pid > 0 ? place_for(pid) : NULL;
    if (proc) {
        proc->plan = task;
        return;
    }
    say(w.out, "unstarted", "%s %d", text(task, "name"), pid < 0 ? -(int)pid : ENOMEM);
    w.pending++;
    at(since_start() + 0.5, START, task);
}

static void sample(void) {
    double began = now_s(), used = used_s(CLOCK_THREAD_CPUTIME_ID);
    hold_lines(w.out);
    sampler_machine();
    for (size_t i = 0; i < w.seen; i++)
        if (w.procs[i].pidfd >= 0) sampler_task(&w.procs[i].sampled);
    if (w.beside) beside_report();
    probe_report(w.out);
    if (began >= w.cost_due) {
        w.cost_due = began + COST_S;
        report_cost(w.out);
    }
    release_lines();
    double least = (used_s(CLOCK_THREAD_CPUTIME_ID) - used) * SAMPLING_SHARE;
    double step = number(w.plan, "sample_s", 0.1);
    at(began - w.t0 + (least > step ? least : step), SAMPLE, NULL);
}

/* Whoever slows our disks down has to know how our clock goes beside theirs. */
static void tick(void) {
    say(w.out, "clock", "%s", "");
    at(since_start() + number(w.plan, "clock", 1), CLOCK, NULL);
}

static void try_to_write(const char *path, const char *value) {
    int error = write_file_text(path, value);
    if (error) say(w.out, "unchanged", "%s %d", path, error);
}

static void change(const struct node *event) {
    const struct node *writes = get(event, "writes"), *tasks = get(event, "tasks");
    for (size_t i = 0; i < writes->length; i++)
        try_to_write(writes->items[i]->items[0]->text, writes->items[i]->items[1]->text);
    for (size_t i = 0; i < tasks->length; i++) {
        const char *name = tasks->items[i]->items[0]->text;
        const struct node *fields = tasks->items[i]->items[1];
        for (size_t p = 0; p < w.seen; p++) {
            const struct proc *proc = &w.procs[p];
            if (proc->pidfd < 0 || strncmp(proc->name, name, sizeof proc->name - 1)) continue;
            if (find(fields, "oom_score_adj")) {
                char path[64], value[32];
                snprintf(path, sizeof path, "/proc/%d/oom_score_adj", proc->sampled.pid);
                snprintf(value, sizeof value, "%lld", whole(fields, "oom_score_adj"));
                try_to_write(path, value);
            }
            if (find(fields, "nice"))
                setpriority(PRIO_PROCESS, (id_t)proc->sampled.pid, (int)whole(fields, "nice"));
        }
    }
}

/* Why the run is over; NULL while it is not. */
static const char *over(double end) {
    double now = now_s();
    bool living = false, holding = true;
    if (now >= end) return "duration";
    if (w.pending) return NULL;
    for (size_t i = 0; i < w.seen; i++) {
        const struct proc *proc = &w.procs[i];
        if (proc->plan && !proc->name[0]) return NULL; /* it has not said yet that it began */
        if (proc->pidfd < 0) continue;
        living = true;
        holding = holding && w.world.slots[proc->sampled.slot].loop == FOREVER;
    }
    if (!living) return "ended";
    return holding && now - w.t0 > number(w.plan, "at_end", 0) ? "holding" : NULL;
}

/* false: whoever started us has gone. */
static bool wait_for_events(double end) {
    struct epoll_event events[EVENTS];
    double due = w.waiting && w.timers[0].at < end ? w.timers[0].at : end;
    double left = due - now_s();
    int timeout = left <= 0 ? 0 : left < 1 ? (int)(left * 1000 + 0.5) : 1000;
    int count = epoll_wait(w.epoll, events, EVENTS, timeout);
    for (int i = 0; i < count; i++) {
        size_t index = events[i].data.u64 & 0xffffffffu;
        struct stream *streams;
        char ignored[4096];
        switch ((enum source)(events[i].data.u64 >> 32)) {
        case FROM_TASKS: hear_tasks(); break;
        case FROM_CONTROL:
            if (read(w.control, ignored, sizeof ignored) <= 0) return false;
            break;
        case FROM_KERNEL: hear_kernel(); break;
        case FROM_PROC: ended(&w.procs[index]); break;
        case FROM_STREAM:
            beside_streams(&streams);
            if (!beside_hear(&streams[index])) epoll_ctl(w.epoll, EPOLL_CTL_DEL, streams[index].fd, NULL);
            break;
        }
    }
    reap();
    return true;
}

static void do_due(void) {
    while (w.waiting && w.timers[0].at <= now_s()) {
        struct timer timer = next_timer();
        switch (timer.errand) {
        case START: start(timer.subject); break;
        case CHANGE: change(timer.subject); break;
        case SAMPLE: sample(); break;
        case CLOCK: tick(); break;
        }
    }
}

static char *filler(double share) {
    char *made = lasting(FILLER);
    size_t hard = (size_t)(PAGE * share);
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    for (size_t at = 0; at < FILLER; at += PAGE)
        for (size_t got = 0; got < hard;) {
            ssize_t more = read(fd, made + at + got, hard - got);
            if (more <= 0) break;
            got += (size_t)more;
        }
    close(fd);
    return made;
}

static void set_up(const struct node *plan, int out, int control) {
    int ends[2];
    long slots = (long)whole(plan, "slots");
    if (pipe2(ends, O_CLOEXEC)) exit(1);
    fcntl(ends[0], F_SETFL, O_NONBLOCK); /* the reader alone */
    w.plan = plan;
    w.out = out;
    w.control = control;
    w.kmsg = -1;
    w.pipe = ends[0];
    w.lines = lasting(LINES);
    w.room = (size_t)slots + 2 * FORKS;
    w.procs = mmap(NULL, w.room * sizeof *w.procs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    w.timers_room = get(plan, "tasks")->length + get(plan, "at")->length + 16;
    w.timers = lasting(w.timers_room * sizeof *w.timers);
    w.world = (struct world){
        .report = ends[1],
        .slots = mmap(NULL, ((size_t)slots + 1 + FORKS) * sizeof(struct slot), PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS, -1, 0),
        .files = text(plan, "files"),
        .tmpfs = text(plan, "tmpfs"),
        .fork_slots = slots,
        .filler = truth(plan, "incompressible") ? filler(number(plan, "incompressible", 0)) : NULL,
    };
    if (w.procs == MAP_FAILED || w.world.slots == MAP_FAILED) exit(1);
    w.world.slots[slots] = (struct slot){0, FORKS};
    w.epoll = epoll_create1(EPOLL_CLOEXEC);
    listen_to(w.pipe, FROM_TASKS, 0);
    if (control >= 0) listen_to(control, FROM_CONTROL, 0);
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int get_ready(const struct node *plan) {
    const struct node *sysctl = get(plan, "sysctl");
    if (truth(plan, "kmsg")) {
        w.kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (w.kmsg < 0) {
            fault_path = "/dev/kmsg";
            return errno;
        }
        lseek(w.kmsg, 0, SEEK_END);
        listen_to(w.kmsg, FROM_KERNEL, 0);
    }
    int error = groups_make(get(plan, "groups"));
    if (!error && truth(plan, "probe")) error = probe_begin(get(plan, "probe"), text(plan, "programs"));
    sampler_begin(w.out, w.world.slots, get(plan, "sources"));
    for (size_t i = 0; i < sysctl->length && !error; i++)
        error = write_file_text(sysctl->items[i]->items[0]->text, sysctl->items[i]->items[1]->text);
    return error;
}

/* What the machine is, and what the agent costs it, before anything runs. */
static void look_around(const struct node *plan) {
    measure_weight(&w.world, w.out, plan);
    measure_machine(w.out, ROUNDS, w.beside);
    if (find(plan, "measure")) measure_costs(w.out, get(plan, "measure"));
    if (!w.beside) return;
    /* It answers while others want the CPU; what it forks does not inherit that. */
    struct sched_param priority = {.sched_priority = 10};
    sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority);
}

static int begin(const struct node *plan) {
    const struct node *tasks = get(plan, "tasks"), *events = get(plan, "at");
    if (w.beside) {
        struct stream *streams;
        size_t count = beside_streams(&streams);
        for (size_t i = 0; i < count; i++) listen_to(streams[i].fd, FROM_STREAM, i);
    }
    w.t0 = now_s();
    if (truth(plan, "mark")) { /* the console's clock and ours meet in this line */
        char line[64];
        snprintf(line, sizeof line, "<6>oomkit: start %.4f\n", w.t0);
        int error = write_file_text("/dev/kmsg", line);
        if (error) return error;
    }
    say(w.out, "begin", "%s", "");
    for (size_t i = 0; i < tasks->length; i++) {
        w.pending++;
        at(number(tasks->items[i], "start", 0), START, tasks->items[i]);
    }
    for (size_t i = 0; i < events->length; i++) at(number(events->items[i], "t", 0), CHANGE, events->items[i]);
    at(0, SAMPLE, NULL);
    if (find(plan, "clock")) at(0, CLOCK, NULL);
    probe_start(w.t0);
    return 0;
}

int watch(const struct node *plan, int out, int control, bool beside) {
    w.beside = beside;
    set_up(plan, out, control);
    int error = get_ready(plan);
    if (!error) {
        look_around(plan);
        error = begin(plan);
    }
    if (error) {
        say(out, "failed", "%d %s", error, fault_path);
        return WATCH_FAILED;
    }
    double end = w.t0 + number(plan, "duration", 0);
    while (!stop_asked) {
        const char *why = over(end);
        if (why) {
            w.cost_due = 0;
            sample();
            if (beside) beside_close();
            say(out, "done", "%s", why);
            return WATCH_DONE;
        }
        if (!wait_for_events(end)) return WATCH_STOPPED;
        do_due();
    }
    return WATCH_STOPPED;
}

/* Kill the tasks that still live; those of cgroups are killed with them. */
void watch_end(void) {
    for (size_t i = 0; i < w.seen; i++)
        if (w.procs[i].pidfd >= 0) syscall(SYS_pidfd_send_signal, w.procs[i].pidfd, SIGKILL, NULL, 0);
}
