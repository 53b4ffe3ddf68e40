/* What runs in a guest beside the scenario: a program that may kill, and what watches it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

#define PATIENCE_S 60.0
#define LINES (64 << 10)
#define INSTANCE "/sys/kernel/tracing/instances/oomkit"
#define SIGNALS INSTANCE "/events/signal/signal_generate"

static struct {
    int report;
    const struct node *guest;
    const char *ready_mark;
    struct stream streams[2];
    size_t count;
    pid_t pid;
    bool ready;
} beside;

size_t beside_streams(struct stream **streams) {
    *streams = beside.streams;
    return beside.count;
}

pid_t beside_pid(void) { return beside.pid; }

/* Lines are passed on as they come. */
bool beside_hear(struct stream *stream) {
    while (true) {
        ssize_t got = read(stream->fd, stream->rest + stream->held, LINES - 1 - stream->held);
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        if (got == 0) return false;
        stream->held += (size_t)got;
        char *begin = stream->rest, *end;
        while ((end = memchr(begin, '\n', stream->held - (size_t)(begin - stream->rest)))) {
            *end = 0;
            stream->take(begin);
            begin = end + 1;
        }
        stream->held -= (size_t)(begin - stream->rest);
        memmove(stream->rest, begin, stream->held);
        if (stream->held == LINES - 1) stream->held = 0; /* a line beyond all measure */
    }
}

static struct stream *listen_on(int fd, void (*take)(char *line)) {
    struct stream *stream = &beside.streams[beside.count++];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    *stream = (struct stream){fd, take, lasting(LINES), 0};
    return stream;
}

static void said(char *line) {
    say(beside.report, "daemon", "%s", line);
    beside.ready = beside.ready || strstr(line, beside.ready_mark) != NULL;
}

/* A field such as "sig=9". */
static const char *field(const char *line, const char *name, char *value, size_t size) {
    const char *at = strstr(line, name);
    if (at == NULL) return NULL;
    snprintf(value, size, "%.*s", (int)strcspn(at + strlen(name), " "), at + strlen(name));
    return value;
}

/* Time, number, code, target and sender of one traced signal: the line is
 * "name-pid [cpu] flags time: signal_generate: sig=9 errno=0 code=128 comm=x pid=7 ...", and both
 * names may hold spaces. */
static void note_signal(char *line) {
    static const char mark[] = ": signal_generate: ";
    char sig[16], code[16], pid[16], *words[4] = {0};
    char *fields = strstr(line, mark);
    if (fields == NULL) return;
    *fields = 0;
    fields += sizeof mark - 1;
    if (!field(fields, "sig=", sig, sizeof sig) || !field(fields, " code=", code, sizeof code)) return;
    const char *target = strstr(fields, " grp=");
    for (const char *at = fields; (at = strstr(at, " pid=")) && (!target || at < target); at++)
        field(at, " pid=", pid, sizeof pid), words[0] = pid;
    if (words[0] == NULL) return;
    for (int i = 0; i < 4; i++) { /* from the right: time, flags, CPU, name-pid */
        char *space = strrchr(line, ' ');
        words[i] = space ? space + 1 : line;
        if (i < 3 && space == NULL) return;
        if (space) *space = 0;
        while (space && space > line && space[-1] == ' ') *--space = 0;
    }
    char *sender = strrchr(words[3], '-');
    if (sender) say(beside.report, "signal", "%s %s %s %s %s", words[0], sig, code, pid, sender + 1);
}

/* Trace sender and receiver of each SIGTERM and SIGKILL, if there is tracefs. */
static void trace(void) {
    if (mkdir(INSTANCE, 0755)) return;
    write_file_text(INSTANCE "/trace_clock", "mono");
    write_file_text(INSTANCE "/buffer_size_kb", "64");
    write_file_text(INSTANCE "/buffer_percent", "0");
    write_file_text(SIGNALS "/filter", "sig==9||sig==15");
    write_file_text(SIGNALS "/enable", "1");
    int fd = open(INSTANCE "/trace_pipe", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) listen_on(fd, note_signal);
}

static void run_companion(const struct node *command, int out) {
    static char *const environment[] = {"PATH=/usr/sbin:/usr/bin", "LANG=C.UTF-8", NULL};
    char **words = calloc(command->length + 1, sizeof *words);
    for (size_t i = 0; i < command->length; i++) words[i] = (char *)command->items[i]->text;
    write_file_text("/proc/self/oom_score_adj", "0");
    signal(SIGPIPE, SIG_DFL);
    dup2(out, 1);
    dup2(out, 2);
    execve(words[0], words, environment);
    dprintf(2, "%s: %s\n", words[0], strerror(errno));
    _exit(127);
}

/* Wait for the line by which the companion reports that it is ready; it may as well have ended. */
static void wait_until_ready(struct stream *output) {
    double end = now_s() + PATIENCE_S;
    if (*beside.ready_mark == 0) return;
    while (!beside.ready && now_s() < end) {
        struct pollfd one = {output->fd, POLLIN, 0};
        poll(&one, 1, 1000);
        if (!beside_hear(output)) return;
    }
    if (!beside.ready) say(beside.report, "unready", "%.0f", PATIENCE_S);
}

static void accompany(const struct node *command) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) return;
    beside.pid = fork();
    if (beside.pid == 0) run_companion(command, ends[1]);
    close(ends[1]);
    wait_until_ready(listen_on(ends[0], said));
    rest_s(number(beside.guest, "settle", 0));
}

/* Begin to trace, start the companion, give it time to be ready, and begin to beat. */
void beside_begin(int report, const struct node *plan) {
    beside.report = report;
    beside.guest = get(plan, "guest");
    beside.ready_mark = text(beside.guest, "ready");
    bool beats = truth(beside.guest, "beats");
    if (beats) {
        lanes_begin(text(plan, "programs"), number(beside.guest, "low_share", 0));
        trace();
    }
    const struct node *command = get(beside.guest, "command");
    if (command->length) accompany(command);
    if (beats) lanes_start();
}

void beside_report(void) { lanes_report(beside.report); }

void beside_close(void) {
    for (size_t i = 0; i < beside.count; i++) beside_hear(&beside.streams[i]);
    lanes_close(beside.report);
}
